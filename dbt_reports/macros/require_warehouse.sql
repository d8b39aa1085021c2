{% macro require_warehouse() %}
    {% if execute and env_var('IMGMINE_WAREHOUSE', '') == '' %}
        {{ exceptions.raise_compiler_error(
            "IMGMINE_WAREHOUSE is not set: it names the private copy of warehouse.duckdb to build the reports in. "
            ~ "Materialize dataset_statistics, which sets it, or set it by hand."
        ) }}
    {% endif %}
{% endmacro %}
