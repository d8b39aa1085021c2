select
    copies,
    count(*) as distinct_files,
    count(*) * copies as copies_in_all,
    {{ share('count(*)', 'sum(count(*)) over ()') }} as share_of_distinct,
    count(distinct archive) as owning_archives,
    digest(min(blake2b)) as example
from {{ source('warehouse', 'ownership') }}
group by copies
order by copies
