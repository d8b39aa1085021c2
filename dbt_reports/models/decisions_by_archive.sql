-- An archive in which nothing was decided so has a row with 0, so that a change is seen; one where the stage has not
-- run has none.
with stages as (
    select archive, stage, sum(n)::bigint as of_stage
    from {{ source('warehouse', 'funnel') }}
    group by all
),

decisions as (
    select distinct stage, decision
    from {{ source('warehouse', 'funnel') }}
),

counted as (
    select
        stages.archive,
        archives.publicdate,
        stages.stage,
        decisions.decision,
        coalesce(funnel.n, 0)::bigint as n,
        stages.of_stage,
        row_number() over (
            partition by stages.stage, decisions.decision order by archives.publicdate nulls last, stages.archive
        ) as place
    from stages
    inner join decisions using (stage)
    left join {{ source('warehouse', 'funnel') }} as funnel
        on
            stages.archive = funnel.archive
            and stages.stage = funnel.stage
            and decisions.decision = funnel.decision
    left join {{ source('warehouse', 'archives') }} as archives on stages.archive = archives.archive
)

select
    stage,
    decision,
    place,
    archive,
    publicdate,
    n,
    {{ share('n', 'of_stage') }} as share_of_stage,
    {{ share('sum(n) over before', 'sum(of_stage) over before') }} as share_before,
    round(
        n / nullif(of_stage, 0)::double - sum(n) over before / nullif(sum(of_stage) over before, 0)::double, 6
    ) as change
from counted
window before as (
    partition by stage, decision order by place rows between unbounded preceding and 1 preceding
)
order by stage, decision, place
