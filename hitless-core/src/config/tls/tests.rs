use super::*;

fn no_roots() -> io::Result<Vec<Vec<u8>>> {
    Ok(Vec::new())
}

/// What was set instead of a certificate may be a key: nothing of it is repeated. RULE-181
#[test]
fn what_cannot_be_read_is_named_and_not_repeated() {
    let pem = |label: &str, text: &str| format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
    let key = pem("PRIVATE KEY", "c2VjcmV0");
    for (builder, setting, says) in [
        (Tls::builder().roots("secret.pem"), "roots", "the name of a file"),
        (Tls::builder().roots(""), "roots", "no certificate"),
        (Tls::builder().roots(key.clone()), "roots", "no certificate"),
        (Tls::builder().roots(pem("CERTIFICATE", "secret!")), "roots", "no certificate"),
        (Tls::builder().roots(pem("CERTIFICATE", "c2VjcmV0")), "roots", "not an X.509"),
        (Tls::builder().roots(b"0secret".to_vec()), "roots", "not an X.509"),
        (
            Tls::builder().client_certificate("secret.pem", key.clone()),
            "client_certificate",
            "no certificate",
        ),
        (
            Tls::builder().client_certificate(pem("CERTIFICATE", "c2VjcmV0"), "secret.key"),
            "client_certificate",
            "no private key",
        ),
        (
            Tls::builder()
                .client_certificate(pem("CERTIFICATE", "c2VjcmV0"), pem("ENCRYPTED PRIVATE KEY", "c2VjcmV0")),
            "client_certificate",
            "must be decrypted",
        ),
        (
            Tls::builder().client_certificate(pem("CERTIFICATE", "c2VjcmV0"), key.clone()),
            "client_certificate",
            "cannot be used",
        ),
    ] {
        let debug = format!("{builder:?}");
        let error = builder.build().unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(setting) && text.contains(says), "{text}");
        for shown in [debug, text, format!("{error:?}")] {
            assert!(
                !shown.contains("secret") && !shown.contains("c2Vj") && !shown.contains("115, 101"),
                "{shown}"
            );
        }
    }
}

/// RULE-180
#[test]
fn roots_that_nobody_has_are_an_error_at_once() {
    let text = Tls::default().client_config(no_roots).unwrap_err().to_string();
    assert!(text.contains("the system has none") && text.contains("`Tls::builder().roots(..)`"), "{text}");
    let denied = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
    let text = Tls::default().client_config(denied).unwrap_err().to_string();
    assert!(text.contains("permission denied") && text.contains("`Tls::builder().roots(..)`"), "{text}");
}

/// RULE-180
#[test]
fn to_believe_everybody_is_loud_and_asks_for_no_roots() {
    let tls = Tls::builder().dangerous_accept_any_server().build().unwrap();
    assert!(format!("{tls:?}").contains("DANGEROUS"), "{tls:?}");
    assert!(tls.client_config(|| panic!("they are not needed")).is_ok());
    let both = Tls::builder().dangerous_accept_any_server().roots("ca.pem").build().unwrap_err();
    assert!(both.to_string().contains("leave one out"), "{both}");
}

#[test]
fn the_configuration_of_rustls_is_taken_as_it_is() {
    let tls = Tls::builder().dangerous_accept_any_server().build().unwrap();
    let config = tls.client_config(no_roots).unwrap();
    let same = Tls::from_rustls(Arc::clone(&config)).client_config(no_roots).unwrap();
    assert!(Arc::ptr_eq(&config, &same));
}
