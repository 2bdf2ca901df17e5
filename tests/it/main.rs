//! The whole program against peers that misbehave, as a process on 127.0.0.1.
//!
//! Hermetic: every peer is a thread of the test, every port is the system's choice. What is seen is
//! what a person would see: alerts at Alertmanager, webhooks at the Control Plane, the log.
//!
//! What bad input gets, and where it is shown: each test sees what is said (the line or setting at
//! fault), the figure that counts it, and that nothing is lost. `tests/tidy.rs` checks the names.
//!
//! | bad input | test |
//! |---|---|
//! | malformed lines, invalid UTF-8, truncated and repeated | `tests/it/pages.rs::a_bad_page_takes_its_target_down_and_nothing_else` |
//! | huge, declared huge and endless bodies | the same (`huge_ones`) |
//! | slow-loris: silent, stalled, dripping head, dripping body | the same (`slow`) |
//! | redirects, wrong content types, statuses, not HTTP | the same (`not_a_page`) |
//! | label values of 10 MB, refused by a limit | the same (`label_value`, `line`) |
//! | label values of 10 MB, taken | `tests/it/pages.rs::a_label_of_ten_megabytes_costs_nobody_else` |
//! | limits that are NaN, infinite, negative | `tests/it/limits.rs::a_limit_that_is_none_raises_no_alarm` |
//! | the clock steps back and forth | `src/engine/tests.rs::a_step_of_the_clock_neither_fires_nor_forgets` |
//! | the same, at any moment, with crashes | `tests/sim/main.rs::every_world_keeps_every_promise` |
//! | storage that fills up | `tests/live/disk.rs::a_full_disk_holds_the_edges_alone_until_there_is_room` |
//! | storage full or read-only at the start (no figure: it does not start) | `tests/live/disk.rs::a_disk_that_is_full_or_read_only_at_the_start_is_named` |
//! | a state directory that cannot be made (no figure, too) | `tests/it/storage.rs::a_directory_that_cannot_be_made_is_named` |
//! | a corrupt journal (no figure, too) | `tests/it/storage.rs::a_damaged_journal_does_not_start_and_is_left_as_it_is` |
//! | rows of a sound journal that cannot be read | `tests/it/storage.rs::a_row_that_cannot_be_read_is_counted_and_left_alone` |
//! | a corrupt checkpoint (said, not counted: it is read once) | `tests/it/storage.rs::a_damaged_checkpoint_costs_the_window_and_nothing_else` |
//! | a container's file that cannot be read | `tests/it/own_eyes.rs::a_file_that_cannot_be_read_makes_its_containers_alert_unknown_over_a_restart_too` |
//! | readers of pages that do not read, and readers without end | `tests/it/drop_in.rs::readers_that_do_not_read_fill_no_memory` |
//! | a Docker socket that may not be opened (said) | `tests/it/own_eyes.rs::who_may_not_open_docker_s_socket_is_told_what_to_do` |
//! | more of Docker's events than are read in time (no figure: a list follows) | `src/docker/tests.rs::a_storm_that_is_not_read_in_time_is_followed_by_a_list` |
//! | a target file that hangs at a reload (said) | `tests/it/inputs.rs::a_file_that_hangs_at_a_reload_holds_neither_the_loop_nor_the_stop` |
//! | a disk that hangs under the checkpoint (said) | `tests/it/storage.rs::a_checkpoint_that_hangs_holds_neither_the_loop_nor_the_stop` |
//! | a Control Plane that answers rubbish | `tests/it/control_plane.rs::rubbish_loses_no_edge_and_repeats_none` |
//! | one that refuses our credentials | `tests/it/control_plane.rs::a_refusal_of_our_credentials_pauses_until_it_is_lifted` |
//! | one that answers in any other way | `src/send/webhook/tests/table.rs::every_answer_leads_to_the_fate_of_the_table` |
//! | a mail server that is silent, busy, refuses, or repeats the password | `tests/it/mail.rs::a_mail_server_of_any_manner_costs_a_second_and_no_password` |
//! | a site that answers 200 with a blank page, hangs, or redirects | `tests/it/gates.rs::a_site_that_turns_blank_is_a_failed_change_and_a_failed_action` |
//! | an Alertmanager that refuses an alert | `tests/it/alertmanager.rs::an_alert_that_is_refused_for_good_is_counted_by_instance_and_reason` |
#![expect(
    clippy::disallowed_methods,
    reason = "tests drive real processes, wait in real time and show the log of one that failed"
)]

mod alertmanager;
mod audit;
mod case;
#[path = "../support/cgroups.rs"]
mod cgroups;
mod control_plane;
mod documents;
mod drop_in;
mod executor;
mod gates;
mod inputs;
mod lifecycle;
mod limits;
mod m2;
mod mail;
mod operator;
mod own_eyes;
mod pages;
mod receipts;
mod recorder;
mod storage;
mod support;
mod tls;
