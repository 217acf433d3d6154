//! The list of the cases, and the macro that makes tests of them.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::testbed::Declined;
use crate::world::Host;

/// One case of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Group and name, as in the path of its test: `moving::healthy_target`.
    pub id: &'static str,
    /// Why it runs in virtual time only, if it does.
    pub virtual_only: Option<&'static str>,
    /// What it does, given a way of running it.
    pub run: fn(&dyn Host),
    /// The text of the file that it stands in, whose comments say what it proves.
    source: &'static str,
}

impl Case {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        id: &'static str,
        virtual_only: Option<&'static str>,
        run: fn(&dyn Host),
        source: &'static str,
    ) -> Self {
        Self { id, virtual_only, run, source }
    }

    /// What must be observed, in a sentence or two.
    #[must_use]
    pub fn title(&self) -> String {
        let words: Vec<&str> = self.comment().flat_map(str::split_whitespace).collect();
        let is_id =
            |word: &str| ["INV-", "PITFALL-", "CLUSTER-", "RULE-"].iter().any(|kind| word.starts_with(kind));
        let end = words.iter().rposition(|word| !is_id(word)).map_or(0, |at| at + 1);
        words[..end].join(" ")
    }

    /// The rows of INVARIANTS.md that it proves, such as `INV-03`.
    #[must_use]
    pub fn invariants(&self) -> Vec<&'static str> {
        self.ids("INV-")
    }

    /// The pitfalls that it avoids, such as `PITFALL-08`.
    #[must_use]
    pub fn pitfalls(&self) -> Vec<&'static str> {
        self.ids("PITFALL-")
    }

    /// The rules that it shows, such as `RULE-01`.
    #[must_use]
    pub fn rules(&self) -> Vec<&'static str> {
        self.ids("RULE-")
    }

    fn ids(&self, kind: &str) -> Vec<&'static str> {
        let words = self.comment().flat_map(str::split_whitespace);
        let words = words.map(|word| word.trim_end_matches(|end: char| !end.is_ascii_digit()));
        words.filter(|word| word.starts_with(kind)).collect()
    }

    /// The lines of the comment above the case.
    fn comment(&self) -> impl Iterator<Item = &'static str> + use<> {
        let name = self.id.rsplit("::").next().unwrap_or(self.id);
        let at = self.source.find(&format!("pub fn {name}(")).unwrap_or(0);
        let above: Vec<&'static str> =
            self.source[..at].lines().rev().take_while(|line| line.starts_with("///")).collect();
        above.into_iter().rev().map(|line| line.trim_start_matches("///"))
    }
}

/// Runs one case. A case that this host declines is reported on standard error, past the capture of the test harness.
pub fn run(host: &dyn Host, id: &str) {
    let case = CASES.iter().find(|case| case.id == id).expect("a case of the list");
    if let Some(reason) = host.declines(id) {
        return report(id, reason);
    }
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| host.run(case.run))) else { return };
    match payload.downcast::<Declined>() {
        Ok(declined) => report(id, &declined.0),
        Err(failure) => resume_unwind(failure),
    }
}

fn report(id: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "declined: {id}: {reason}");
}

/// Hands the list of all cases to another macro. A case behind the semicolon of its group needs a clock that jumps, or a
/// network that does as it is told; the reason follows.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_case {
    ($callback:path $(, $argument:tt)*) => {
        $callback! {
            [$($argument)*]
            handshake {
                one_round_trip,
                modes_and_opt_ins,
                modes_and_resp2_servers,
                configured_resp2_opts_in_to_nothing,
                one_quiet_refusal,
                loading_disables_nothing,
                link_closed_at_the_opt_in,
                the_password_appears_nowhere,
                a_wrong_password_is_an_error,
                only_what_matters_is_an_error,
                pushes_between_the_replies,
                a_retained_completion_is_a_no_op,
                session_state_moves,
                transparent_without_a_push,
                nobody_answers,
                ;
                a_refusal_expires: "it takes ten minutes",
            }
            refusals {
                hello_in_other_words,
                no_silent_downgrade,
                resp2_has_to_answer,
                other_modes_do_not_fall_back,
                links_that_close_at_what_they_do_not_know,
                a_pool_behind_such_a_proxy,
                without_client_info,
                ;
                asked_again_later: "it takes ten minutes",
            }
            attributes {
                in_the_handshake,
                in_notifications,
                in_replies,
                ;
            }
            hooks {
                a_veto_stops_a_move,
                a_vetoed_opener_relaxes_nothing,
                another_target,
                no_verdict_in_time,
                the_handshake_is_invisible,
                figures_return_to_zero,
                a_forbidden_target_is_not_dialled,
                a_translated_target,
                ;
            }
            moving {
                healthy_target,
                large_pool,
                copies_are_one_move,
                subset_is_told,
                idle_connections_move,
                target_dead_for_a_while,
                target_dead_for_good,
                target_drops_dials,
                target_is_loading,
                reply_of_an_executed_command,
                drain_deadline,
                a_breaker_recovers,
                behind_the_end,
                during_the_handshake,
                between_the_replies_of_a_transaction,
                new_dials_follow_the_move,
                connect_during_a_move,
                lost_while_it_moves,
                ;
                unsent_requests_stay_in_order: "the system decides when a socket takes bytes",
                unsent_requests_move: "the system decides when a socket takes bytes",
            }
            targets {
                another_port,
                ipv6,
                host_name,
                no_port,
                null,
                dns_follows_after_the_close,
                withdrawn_address,
                virtual_address,
                the_retiring_node_again,
                odd_times,
                one_second,
                the_address_in_use,
                outside_of_the_domain,
                ;
                every_way_of_naming_none: "it takes long: `null` stands for all of them",
            }
            tls {
                nodes_with_certificates_of_their_own,
                a_target_that_is_an_address,
                a_target_that_is_not_believed,
                links_that_end,
                ;
            }
            overlaps {
                newest_wins,
                same_id_another_target,
                duplicates_extend_nothing,
                chain,
                chain_of_slow_nodes,
                to_a_node_that_is_being_left,
                there_and_back,
                back_before_all_have_followed,
                back_while_a_lease_is_held,
                told_again_at_the_target,
                proxies_move_independently,
                ;
            }
            windows {
                in_flight_commands_are_extended,
                closing_shortens_nothing,
                explicit_timeouts_are_not_relaxed,
                long_timeouts_are_not_shortened,
                a_window_ends_by_itself,
                a_lone_completion_is_a_no_op,
                repeated_openers_are_one_window,
                a_completion_closes_its_own_kind,
                every_arity,
                malformed_pushes_are_dropped,
                after_a_handoff,
                ;
            }
            outages {
                start_says_why_and_is_bounded,
                requests_say_why_there_is_no_connection,
                requests_say_that_credentials_are_refused,
                requests_fail_at_once_where_that_is_wanted,
                requests_wait_out_maintenance,
                ;
            }
            requests {
                every_kind_of_reply,
                replies_are_values,
                refused_commands,
                pipelines_are_one_unit,
                transactions_during_a_move,
                cancelling_keeps_the_order,
                timeouts_say_what_happened,
                parked_requests,
                limit_of_requests_in_flight,
                requests_gather,
                small_requests_do_not_join_a_large_one,
                nobody_joins_a_silent_link,
                only_reads_are_repeated,
                arguments_decide_what_is_a_read,
                a_broken_stream_is_replaced,
                unknown_pushes_shift_nothing,
                any_split_of_the_stream,
                ;
            }
            links {
                a_silent_link_is_replaced,
                a_patient_caller_is_not_cut_off,
                a_server_that_pauses_keeps_its_links,
                a_read_that_breaks_its_link,
                a_reply_beyond_the_limits,
                everybody_waits_behind_a_replay,
                ;
            }
            leases {
                one_caller_alone,
                what_the_next_caller_finds,
                given_up_requests_close_the_connection,
                in_the_order_of_arrival,
                waiting_has_an_end,
                idle_connections_move,
                a_watch_outlasts_the_announcement,
                the_deadline_ends_a_lease,
                a_transaction_that_is_lost,
                a_lost_connection_is_a_lost_lease,
                a_watched_key_is_changed,
                wait_stands_behind_its_writes,
                a_silent_link_is_a_lost_lease,
                commands_that_block,
                shutdown_with_leases_out,
                ;
            }
            blocking {
                connections_of_their_own,
                a_consumer_moves,
                consumers_and_producers_through_moves,
                a_server_that_refuses_to_unblock,
                a_consumer_that_gives_up,
                a_shutdown_takes_nothing,
                a_demotion_takes_nothing,
                a_pause_holds_consumers_up,
                ;
            }
            proxies {
                the_same_ids,
                answers_change,
                pings_are_answered_by_the_proxy,
                ;
                taken_away_without_a_move: "it takes minutes",
            }
            dials {
                one_address_of_two_answers,
                two_addresses_of_three_say_nothing,
                a_move_to_a_name_with_a_dead_address,
                a_move_by_name_past_a_dead_address,
                a_server_that_closes_behind_the_handshake,
                a_target_that_closes_behind_the_handshake,
                credentials_that_are_refused,
                a_slow_handshake_inside_a_window,
                ;
            }
            credentials {
                rotation_under_load,
                no_transaction_is_cut_in_two,
                a_provider_that_fails_once,
                a_start_without_credentials,
                a_provider_that_hangs,
                wrong_credentials_after_a_rotation,
                a_renewal_that_fails,
                a_handoff_during_a_rotation,
                nothing_is_shown,
                ;
            }
            subscriptions {
                nothing_is_lost_or_repeated_in_a_move,
                a_loss_is_a_gap,
                many_share_one_connection,
                resp2,
                the_set_changes_during_a_move,
                every_connection_is_lent,
                no_connection_in_time,
                nonsense_instead_of_a_confirmation,
                ;
                a_dead_subscription_is_noticed: "it takes half a minute",
            }
            caching {
                what_was_read_is_told_when_it_changes,
                changes_behind_a_prefix_are_broadcast,
                a_move_makes_everything_invalid,
                a_loss_makes_everything_invalid,
                a_server_that_refuses_is_an_error,
                ;
            }
            failover {
                refusals_are_not_seen,
                without_a_warning_the_refusal_is_the_reply,
                a_late_joiner_is_told_the_rest,
                connect_during_a_failover,
                slots_migrate,
                ;
            }
            demotions {
                the_name_leads_elsewhere,
                whatever_carries_the_refusal,
                loading_means_wait,
                a_virtual_address,
                nobody_takes_writes,
                at_the_end_of_a_window,
                switched_off,
                scripts_prove_nothing,
                ;
                nobody_takes_writes_for_long: "it takes ten minutes",
            }
            measured {
                ;
                a_named_endpoint: "it takes half an hour",
                no_endpoint: "it takes half an hour",
            }
            chaos {
                ;
                everything_at_once: "it takes minutes",
            }
            cluster_topology {
                slots_alone_suffice,
                shards_where_slots_is_refused,
                nodes_without_names,
                a_node_that_is_somewhere_unknown,
                behind_a_network_of_their_own,
                encrypted_nodes,
                every_node_is_a_seed,
                names_are_looked_up_anew,
                a_dead_seed_delays_nothing,
                a_storm_of_redirects,
                a_topology_that_nobody_tells,
                reads_use_the_connections_there_are,
                read_now_and_then,
                ;
            }
            cluster_redirects {
                moved_commands_are_sent_again,
                a_promoted_replica_takes_all_slots,
                moved_to_a_newcomer,
                redirects_without_a_host,
                asked_for_on_the_move,
                tried_again_at_the_same_node,
                a_command_that_waits,
                ;
            }
            cluster_nodes {
                a_node_that_is_away,
                a_primary_that_does_not_come_back,
                a_primary_that_has_become_read_only,
                a_cluster_that_is_down,
                all_connections_are_lost,
                one_node_moves,
                a_moving_is_told_again,
                an_end_is_told_to_newcomers,
                a_node_known_by_name_alone,
                behind_the_end,
                ;
            }
            cluster_announced {
                without_a_redirect,
                told_in_every_form,
                one_node_tells,
                told_again_and_out_of_order,
                to_a_newcomer,
                malformed_pairs,
                its_node_alone_is_relaxed,
                under_load,
                ;
            }
            cluster_requests {
                hash_tags,
                refused_across_slots,
                split_on_demand,
                pipelines_across_nodes,
                batches_are_one_unit,
                a_lease_and_its_slot,
                replies_stay_with_their_commands,
                reads_from_replicas,
                ;
            }
            cluster_subscriptions {
                a_sharded_channel_follows_its_slot,
                ordinary_channels_outlast_their_node,
                ;
            }
            shutdown {
                idle,
                in_the_middle_of_a_move,
                while_nothing_is_connected,
                graceful,
                after_the_grace,
                nothing_is_accepted_any_more,
                ;
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! list_cases {
    ([] $($group:ident {
        $($case:ident,)*
        ; $($virtual_case:ident: $reason:literal,)*
    })*) => {
        /// Every case.
        pub static CASES: &[Case] = &[$(
            $(Case::new(
                concat!(stringify!($group), "::", stringify!($case)),
                None,
                $crate::cases::$group::$case,
                $crate::cases::source::$group,
            ),)*
            $(Case::new(
                concat!(stringify!($group), "::", stringify!($virtual_case)),
                Some($reason),
                $crate::cases::$group::$virtual_case,
                $crate::cases::source::$group,
            ),)*
        )*];
    };
}

/// Makes one test of each case, named `conformance::group::case`, for an adapter that is a [`Host`] and `Default`.
///
/// Cases that need virtual time are ignored with their reason, unless the adapter brings it:
/// `suite!(MyAdapter, virtual_time)`.
#[macro_export]
macro_rules! suite {
    ($adapter:ty) => {
        $crate::for_each_case!($crate::tests_in_real_time, $adapter);
    };
    ($adapter:ty, virtual_time) => {
        $crate::for_each_case!($crate::tests_in_virtual_time, $adapter);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! tests_in_virtual_time {
    ([$adapter:ty] $($group:ident {
        $($case:ident,)*
        ; $($virtual_case:ident: $reason:literal,)*
    })*) => {
        mod conformance { $(
            mod $group {
                use super::super::*;
                $(
                    #[test]
                    fn $case() {
                        $crate::run_case!($adapter, $group, $case);
                    }
                )*
                $(
                    #[test]
                    fn $virtual_case() {
                        $crate::run_case!($adapter, $group, $virtual_case);
                    }
                )*
            }
        )* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! tests_in_real_time {
    ([$adapter:ty] $($group:ident {
        $($case:ident,)*
        ; $($virtual_case:ident: $reason:literal,)*
    })*) => {
        mod conformance { $(
            mod $group {
                use super::super::*;
                $(
                    #[test]
                    fn $case() {
                        $crate::run_case!($adapter, $group, $case);
                    }
                )*
                $(
                    #[test]
                    #[ignore = $reason]
                    fn $virtual_case() {
                        $crate::run_case!($adapter, $group, $virtual_case);
                    }
                )*
            }
        )* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! run_case {
    ($adapter:ty, $group:ident, $case:ident) => {
        let host = <$adapter as ::core::default::Default>::default();
        $crate::suite::run(&host, concat!(stringify!($group), "::", stringify!($case)));
    };
}

for_each_case!(list_cases);

#[cfg(test)]
mod tests {
    use super::*;

    /// A function that stands in a file of cases and not in the list would never run.
    #[test]
    fn every_case_is_in_the_list() {
        for file in CASES.iter().map(|case| case.source) {
            let listed = CASES.iter().filter(|case| case.source == file).count();
            assert_eq!(
                file.matches("\npub fn ").count(),
                listed,
                "{}",
                file.lines().next().unwrap_or_default()
            );
        }
    }

    #[test]
    fn every_case_says_what_it_proves() {
        for case in CASES {
            assert!(case.title().ends_with('.'), "{}: {:?}", case.id, case.title());
            assert!(!case.title().contains("INV-"), "{}: {:?}", case.id, case.title());
            assert!(case.rules().iter().all(|rule| !case.title().contains(rule)), "{}", case.id);
        }
        let moved = CASES.iter().find(|case| case.id == "moving::copies_are_one_move").unwrap();
        assert_eq!((moved.invariants(), moved.pitfalls()), (vec!["INV-09"], vec!["PITFALL-06"]));
    }

    #[test]
    fn names_are_unique() {
        let mut ids: Vec<_> = CASES.iter().map(|case| case.id).collect();
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
