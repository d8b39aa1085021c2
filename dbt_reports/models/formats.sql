with files as (
    select
        media_type,
        count(*) filter (video_blake2b is null) as originals,
        count(*) filter (video_blake2b is not null) as stills,
        sum(size)::bigint as bytes,
        median(size)::bigint as median_bytes
    from {{ source('warehouse', 'files') }}
    group by all
),

-- By the decoder's word for the format and not by a join, which would carry every digest of the dataset.
images as (
    select
        case when format = 'MPO' then 'image/jpeg' else 'image/' || lower(format) end as media_type,
        count(*) as images_kept
    from {{ source('warehouse', 'images') }}
    where decision = 'kept'
    group by all
)

select
    files.media_type,
    files.originals,
    files.stills,
    {{ share('files.originals + files.stills', 'sum(files.originals + files.stills) over ()') }} as share_of_files,
    files.bytes,
    files.median_bytes,
    coalesce(images.images_kept, 0) as images_kept
from files
left join images using (media_type)
order by files.originals + files.stills desc, files.media_type
