with counts as (
    select
        stage,
        decision,
        sum(n)::bigint as n,
        count(*) as archives
    from {{ source('warehouse', 'funnel') }}
    group by all
)

select
    list_position(['records', 'files', 'images', 'scores'], stage) as stage_number,
    stage,
    decision,
    n,
    {{ share('n', 'sum(n) over (partition by stage)') }} as share_of_stage,
    archives
from counts
order by stage_number, n desc, decision
