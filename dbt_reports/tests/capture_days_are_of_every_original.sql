{{ config(meta={'dagster': {'ref': {'name': 'capture_days'}}}) }}

-- Every report that counts originals counts the same ones.
with counts as (
    select
        (select coalesce(sum(originals), 0) from {{ ref('capture_days') }}) as by_day,
        (select coalesce(sum(originals), 0) from {{ ref('last_modified_months') }}) as by_month,
        (select coalesce(sum(originals), 0) from {{ ref('domains') }}) as by_domain,
        (select coalesce(sum(originals), 0) from {{ ref('formats') }}) as by_format,
        (select coalesce(sum(files), 0) from {{ ref('file_sizes') }} where kind != 'still') as by_size
)

select *
from counts
where not (by_day = by_month and by_day = by_domain and by_day = by_format and by_day = by_size)
