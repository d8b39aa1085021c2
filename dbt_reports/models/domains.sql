with hosts as (
    select
        lower(regexp_extract(url, '^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/@]*@)?([^/:?#]+)', 1)) as domain,
        count(*) as originals,
        count(distinct archive) as archives
    from {{ source('warehouse', 'files') }}
    where video_blake2b is null
    group by all
)

select
    coalesce(nullif(domain, ''), '(none)') as domain,
    sum(originals)::bigint as originals,
    max(archives) as archives,
    {{ share('sum(originals)', 'sum(sum(originals)) over ()') }} as share_of_originals
from hosts
group by all
order by originals desc, domain
