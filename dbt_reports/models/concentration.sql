-- How unevenly files and bytes are spread over archives, and originals over domains.
with amounts as (
    select 'files over archives' as spread, archive as member, files::double as amount
    from {{ source('warehouse', 'archives') }}
    where files is not null
    union all
    select 'distinct files over their owners', archive, owned::double
    from {{ source('warehouse', 'archives') }}
    where owned is not null
    union all
    select 'stored bytes over archives', archive, stored_bytes::double
    from {{ ref('yield_by_archive') }}
    union all
    select 'images kept over archives', archive, images_kept::double
    from {{ ref('yield_by_archive') }}
    union all
    select 'originals over domains', domain, originals::double
    from {{ ref('domains') }}
),

ranked as (
    select
        spread,
        member,
        amount,
        row_number() over (partition by spread order by amount, member) as place,
        row_number() over (partition by spread order by amount desc, member) as place_from_top,
        count(*) over (partition by spread) as members,
        sum(amount) over (partition by spread) as total
    from amounts
)

select
    spread,
    any_value(members) as members,
    arg_max(member, amount) as largest,
    {{ share('max(amount)', 'any_value(total)') }} as share_of_largest,
    {{ share('sum(amount) filter (place_from_top <= ceil(members / 100))', 'any_value(total)') }} as share_of_top_1_percent,
    {{ share('sum(amount) filter (place_from_top <= ceil(members / 10))', 'any_value(total)') }} as share_of_top_10_percent,
    round(sum((amount / nullif(total, 0)) ** 2), 6) as herfindahl,
    round(
        2 * sum(place * amount) / nullif(any_value(members * total), 0)
        - any_value((members + 1) / members), 6
    ) as gini
from ranked
group by spread
order by spread
