//! Programs for the `redis` crate, which run on the client by changing nothing but how the connection is made: over RESP2 and over
//! RESP3, with a plain `redis-server`.

mod acl;
mod collections;
mod errors;
mod hashes;
mod keys;
mod leases;
mod pipelines;
mod scans;
mod scripts;
mod streams;
mod strings;
mod typed;

use std::future::Future;
use std::path::Path;

use hitless_conformance::net::redis_process::RedisProcess;
use redis::RedisResult;

use crate::hitless::Client;

/// Runs an example over both protocols, each time with an empty server.
fn run<F: Future<Output = RedisResult<()>>>(example: fn(Client) -> F) {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    for protocol in [2, 3] {
        let server = RedisProcess::start(Path::new(&program), &[]).unwrap();
        let url = format!("redis://{}/1?protocol={protocol}", server.address());
        let ended: RedisResult<()> = crate::block_on(async {
            let client = Client::builder(&url)?.pool_size(2).connect().await?;
            example(client).await
        });
        ended.unwrap_or_else(|error| panic!("RESP{protocol}: {error}"));
    }
}

/// One test for each example. RULE-195
macro_rules! examples {
    ($($group:ident: $($name:ident)*;)*) => {$(
        mod $group {
            $(
                #[test]
                #[ignore = "needs a redis-server: cargo xtask test-all runs them"]
                fn $name() {
                    super::super::run(super::super::$group::$name);
                }
            )*
        }
    )*};
}

mod examples {
    examples! {
        strings: set_and_get many_at_once numbers_and_floats bytes_and_text what_is_missing expiring_values
            set_only_if conditions_and_the_old_value get_and_change parts_of_a_value bits;
        keys: existence_and_deletion types_of_values names_that_match renaming_and_copying lifetimes databases
            counting_what_is_unique subcommands types_of_ones_own emptying_a_database;
        hashes: one_field_and_all many_fields counters_in_a_hash fields_and_values_alone a_struct_out_of_a_hash
            random_fields;
        collections: lists lists_that_are_cut moving_between_lists positions sets combining_sets members_by_chance
            sorted_sets ranges_by_score ranges_by_name scores ranks popping_the_smallest combining_sorted_sets places
            publishing;
        pipelines: two_values_of_two_commands ignored_replies one_value_is_a_tuple_of_one a_pipeline_that_is_used_again
            an_atomic_pipeline atomic_and_ignored a_list_of_replies an_error_names_its_command errors_among_values
            a_thousand_commands errors_inside_a_transaction a_transaction_that_is_not_run typed_methods_of_a_pipeline
            an_empty_transaction without_a_reply;
        scripts: a_sum keys_and_arguments a_script_that_is_not_loaded_yet loading_first a_table a_script_in_a_pipeline
            a_script_in_a_pipeline_that_is_not_loaded errors_of_scripts what_resp3_has_more;
        scans: all_keys keys_of_a_pattern keys_of_a_type fields members members_with_scores a_cursor_by_hand
            more_than_one_page;
        streams: adding_and_reading ranges groups what_is_pending trimming about_a_stream claiming
            managing_groups;
        leases: a_transaction a_transaction_of_the_client a_transaction_that_begins_again a_transaction_that_fails watching_by_hand waiting_for_elements;
        acl: users rights_of_a_user;
        typed: strings hashes;
        errors: kinds_of_errors refused_commands wrong_types clones_share_the_pool;
    }
}
