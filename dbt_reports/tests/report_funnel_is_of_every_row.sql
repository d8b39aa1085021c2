{{ config(meta={'dagster': {'ref': {'name': 'report_funnel'}}}) }}

-- The rows of each stage are those of its table; nothing is counted twice or left out.
with tables as (
    select 'records' as stage, count(*) as n from {{ source('warehouse', 'records') }}
    union all
    select 'files', count(*) from {{ source('warehouse', 'files') }}
    union all
    select 'images', count(*) from {{ source('warehouse', 'images') }}
    union all
    select 'scores', count(*) from {{ source('warehouse', 'anomaly_scores') }}
),

reported as (
    select stage, sum(n)::bigint as n
    from {{ ref('report_funnel') }}
    group by stage
)

select tables.stage, tables.n, reported.n as n_reported
from tables
left join reported using (stage)
where tables.n != coalesce(reported.n, 0)
