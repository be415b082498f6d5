//! ezdfs and Ibexa nodes on one table and one directory: the conformance checks 1 to 40 of
//! ibexa-dfs.md §7, by number, in both directions, on MariaDB and PostgreSQL with both table names.
//!
//! `php` runs a check with a node in Rust, which can be stopped between bytes and row. `pdo` runs
//! it with PHP itself, where PHP's drivers and file functions decide something: how columns and
//! booleans arrive, what an error of a statement does to a transaction, how LIKE is escaped, how
//! bytes are locked and written in place.
//!
//! | file | checks |
//! |---|---|
//! | `site` | the table, the directory, and who works on them |
//! | `rows` | 1 to 8: what a row says |
//! | `visibility` | 9 to 14: which rows exist for a reader |
//! | `writes` | 15 to 21: writes and deletes of files, by both at once |
//! | `directories` | 22 to 24: deletes of directories |
//! | `limits` | 26 to 29: lengths, interrupted writes, traversal, empty files |
//! | `delivery` | 31 to 40: what a browser gets |
//! | `fsck` | 21 and others with fsck |
//! | `commands` | 25 and others with the program `ezdfs` |

mod commands;
mod delivery;
mod directories;
mod fsck;
mod limits;
mod rows;
mod site;
mod visibility;
mod writes;

/// Tests of one kind of node on one table.
macro_rules! on_table {
    ($server:ident, $table:ident, $node:ident, [$($file:ident::$check:ident,)*]) => {
        mod $table {
            use crate::ibexa::site::Site;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    let Some(site) = Site::$server(stringify!($table)).await else { return };
                    let Some(node) = site.$node().await else { return };
                    crate::ibexa::$file::$check(&site, &node).await;
                }
            )*
        }
    };
}

/// Tests of one kind of node on these tables of both servers.
macro_rules! on_tables {
    ($node:ident, mariadb $mariadb:tt, postgres $postgres:tt, $checks:tt) => {
        mod $node {
            mod mariadb {
                on_tables!(@ mariadb $mariadb $node $checks);
            }

            mod postgres {
                on_tables!(@ postgres $postgres $node $checks);
            }
        }
    };
    (@ $server:ident [$($table:ident),*] $node:ident $checks:tt) => {
        on_tables!(@@ $server $node $checks $($table)*);
    };
    (@@ $server:ident $node:ident $checks:tt $first:ident $($table:ident)*) => {
        on_table!($server, $first, $node, $checks);
        on_tables!(@@ $server $node $checks $($table)*);
    };
    (@@ $server:ident $node:ident $checks:tt) => {};
}

on_tables!(
    php,
    mariadb [ezdfsfile, ibexa_dfs_file],
    postgres [ezdfsfile, ibexa_dfs_file],
    [
        rows::check_01_php_creates_and_ezdfs_reads,
        rows::check_02_ezdfs_creates_and_php_reads,
        rows::check_03_every_column_of_a_row_of_ezdfs,
        rows::check_04_scopes,
        rows::check_05_only_the_configured_table_is_used,
        rows::check_06_outer_slashes_of_prefix_and_id,
        rows::check_07_awkward_names,
        rows::check_07_a_backslash_is_a_slash_in_the_bytes_of_php,
        rows::check_08_twins_by_case,
        visibility::check_09_expired_rows,
        visibility::check_10_negative_mtime,
        visibility::check_11_mtime_zero,
        visibility::check_12_legacy_tombstones,
        visibility::check_13_status_means_nothing,
        visibility::check_14_unknown_scopes_and_legacy_types,
        writes::check_15_php_creates_again,
        writes::check_15_ezdfs_creates_again,
        writes::check_16_ezdfs_creates_over_a_tombstone,
        writes::check_18_fifty_creates_of_one_path,
        writes::check_19_a_delete_by_ezdfs,
        writes::check_19_a_delete_by_php_shows_at_once,
        writes::check_20_half_files_are_deleted,
        writes::check_21_bytes_without_a_row,
        directories::check_22_a_directory_delete_is_exact,
        directories::check_23_twins_of_a_deleted_directory_stay,
        directories::check_24_a_purge_by_php,
        limits::check_26_what_is_too_long_is_refused_before_any_byte,
        limits::check_26_an_old_table_refuses_four_byte_characters,
        limits::check_27_interrupted_writes_show_nothing,
        limits::check_28_nobody_leaves_the_directory,
        limits::check_28_invisible_characters,
        limits::check_29_empty_files,
        fsck::check_21_fsck_lists_bytes_without_a_row,
        fsck::fsck_after_soft_deletes_and_purges_by_php,
        fsck::fsck_after_a_directory_delete_by_collation,
        fsck::fsck_makes_entries_that_are_missing,
        fsck::fsck_removes_entries_without_a_row,
        commands::check_01_and_02_with_the_program,
        commands::check_25_a_renamed_file_has_one_name,
        commands::check_27_a_put_that_is_killed,
    ]
);

// HTTP knows nothing of tables.
mod delivered {
    on_tables!(
        php,
        mariadb[ezdfsfile],
        postgres[ibexa_dfs_file],
        [
            delivery::check_31_32_33_get_head_and_queries,
            delivery::check_34_encoded_names,
            delivery::check_35_36_ranges,
            delivery::check_37_conditions,
            delivery::check_38_what_is_not_public,
            delivery::check_39_bytes_that_do_not_fit_their_row,
            delivery::check_40_other_methods,
        ]
    );
}

// What a table is called makes no difference to PHP's drivers.
on_tables!(
    pdo,
    mariadb[ezdfsfile],
    postgres[ibexa_dfs_file],
    [
        rows::check_01_php_creates_and_ezdfs_reads,
        rows::check_02_ezdfs_creates_and_php_reads,
        rows::check_03_every_column_of_a_row_of_ezdfs,
        rows::check_07_awkward_names,
        writes::check_15_php_creates_again,
        writes::check_15_ezdfs_creates_again,
        writes::check_16_ezdfs_creates_over_a_tombstone,
        writes::check_17_failed_statements_and_transactions,
        writes::check_18_fifty_creates_of_one_path,
        writes::check_19_a_delete_by_ezdfs,
        writes::check_19_a_delete_by_php_shows_at_once,
        directories::check_22_a_directory_delete_is_exact,
        directories::check_23_twins_of_a_deleted_directory_stay,
        directories::check_24_a_purge_by_php,
        limits::check_27_interrupted_writes_show_nothing,
    ]
);
