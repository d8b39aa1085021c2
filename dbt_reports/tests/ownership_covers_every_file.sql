{{ config(meta={'dagster': {'ref': {'name': 'duplicates_across_archives'}}}) }}

-- Distinct files times the archives that have them are the files of all archives; each has one owner.
with dataset as (
    select
        coalesce(sum(files), 0) as files,
        coalesce(sum(owned), 0) as owned
    from {{ source('warehouse', 'archives') }}
),

duplicates as (
    select
        coalesce(sum(copies_in_all), 0) as files,
        coalesce(sum(distinct_files), 0) as owned
    from {{ ref('duplicates_across_archives') }}
)

select
    dataset.files,
    dataset.owned,
    duplicates.files as files_reported,
    duplicates.owned as owned_reported,
    blocked.files as files_blocked
from dataset
cross join duplicates
cross join (select count(*) as files from {{ source('warehouse', 'blocked') }}) as blocked
-- What was taken down since is counted in its archive until `dataset` runs again.
where
    dataset.owned - duplicates.owned not between 0 and blocked.files
    or (blocked.files = 0 and dataset.files != duplicates.files)
