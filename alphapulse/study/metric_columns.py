"""What the migration of a metric does: its column of `trial`, and its place in the view `trial_named`."""

# The view is remade from what the database says it is, so that a migration names its own metric alone. Its last FROM is
# the outer one; dropping the view is the only way to take a column out.
ADD = """
ALTER TABLE trial ADD COLUMN {name} double precision;
ALTER TABLE IF EXISTS trial_symbol ADD COLUMN {name} double precision;
DO $$ BEGIN
    EXECUTE 'CREATE OR REPLACE VIEW trial_named AS '
        || regexp_replace(pg_get_viewdef('trial_named'::regclass), '(\\s+FROM \\(?sweep s\\s)', ', t.{name}\\1');
END $$;
"""
DROP = """
DO $$ DECLARE named text := pg_get_viewdef('trial_named'::regclass); BEGIN
    DROP VIEW trial_named;
    EXECUTE 'CREATE VIEW trial_named AS ' || regexp_replace(named, ',\\s+t\\.{name}\\M', '');
END $$;
ALTER TABLE trial DROP COLUMN {name};
ALTER TABLE IF EXISTS trial_symbol DROP COLUMN {name};
"""


def add_metric(name: str) -> None:
    """Add the column of a new metric, NULL in the trials that there are; for `upgrade` of a migration."""
    from alembic import op

    op.execute(ADD.format(name=name))


def drop_metric(name: str) -> None:
    """Take the column of a metric out; for `downgrade` of a migration."""
    from alembic import op

    op.execute(DROP.format(name=name))
