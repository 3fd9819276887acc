"""A key that is inactive in a trial, NaN among its parameters, is in neither view."""

from alembic import op

revision = "0009"
down_revision = "0008"

PARAMETER = """
    CASE {guard}
        WHEN d.dimension ->> 'kind' = 'categorical' THEN d.dimension -> 'choices' -> (t.params[d.place]::int)
        WHEN d.dimension ->> 'kind' = 'int' THEN to_jsonb(t.params[d.place]::bigint)
        ELSE to_jsonb(t.params[d.place])
    END
"""
DIMENSIONS = "jsonb_array_elements(s.space) WITH ORDINALITY AS d(dimension, place)"
IS_ACTIVE = "t.params[d.place] <> 'NaN'"
# Whoever selects from a view may have the value looked at before the condition.
GUARD = "WHEN t.params[d.place] = 'NaN' THEN NULL"
# What comes after these is the trial's own columns, those of metrics that were added since among them.
N_FIRST = 6


def upgrade() -> None:
    _make_views(PARAMETER.format(guard=GUARD), f"WHERE {IS_ACTIVE}", f"FILTER (WHERE {IS_ACTIVE})")


def downgrade() -> None:
    _make_views(PARAMETER.format(guard=""), "", "")


def _make_views(parameter: str, where: str, filtered: str) -> None:
    op.execute(
        f"""
        CREATE OR REPLACE VIEW trial_params AS
        SELECT s.name AS study, t.number, d.dimension ->> 'key' AS key, {parameter} AS value
        FROM sweep s JOIN trial t ON t.sweep_id = s.id CROSS JOIN LATERAL {DIMENSIONS}
        {where}
        """
    )
    op.execute(
        f"""
        DO $$ DECLARE others text; BEGIN
            SELECT string_agg(format('t.%I', attname), ', ' ORDER BY attnum) INTO others
            FROM pg_attribute WHERE attrelid = 'trial_named'::regclass AND attnum > {N_FIRST} AND NOT attisdropped;
            EXECUTE $view$
                CREATE OR REPLACE VIEW trial_named AS
                SELECT s.name AS study, t.number, t.generation, t.state, t.value,
                    (SELECT jsonb_object_agg(d.dimension ->> 'key', {parameter}) {filtered} FROM {DIMENSIONS})
                        AS params,
            $view$ || others || ' FROM sweep s JOIN trial t ON t.sweep_id = s.id';
        END $$;
        """
    )
