"""The audit log: rows that nobody changes, marks of where the chain begins and ends, names that can be erased."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_REFUSED = "the audit log only grows; ggnet audit prune removes what is old"

# A row goes only once a checkpoint covers it, and a checkpoint only moves on: retention needs no trigger to be dropped.
_COVERED = "(SELECT seq FROM audit_marks WHERE name = 'checkpoint')"
# name, event and table, when, on SQLite only
_TRIGGERS = (
    ("audit_no_update", "UPDATE ON audit", "", False),
    ("audit_no_delete", "DELETE ON audit", f"OLD.seq > {_COVERED}", False),
    # INSERT OR REPLACE removes rows without asking the trigger above
    ("audit_no_replace", "INSERT ON audit", "EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)", True),
    ("actors_no_update", "UPDATE ON actors", "", False),
    ("actors_no_replace", "INSERT ON actors", "EXISTS (SELECT 1 FROM actors WHERE id = NEW.id)", True),
    ("audit_marks_no_delete", "DELETE ON audit_marks", "OLD.seq > 0", False),
    ("audit_marks_only_on", "UPDATE ON audit_marks", "NEW.seq < OLD.seq OR NEW.name <> OLD.name", False),
)


def upgrade() -> None:
    _tables()
    if op.get_bind().dialect.name == "sqlite":
        for name, event, when, _ in _TRIGGERS:
            condition = f"WHEN {when}" if when else ""
            op.execute(f"CREATE TRIGGER {name} BEFORE {event} {condition} BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END")
        return
    refuse = f"RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'integrity_constraint_violation'"
    op.execute(f"CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {refuse}; END $$")
    op.execute(
        "CREATE FUNCTION audit_covered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF OLD.seq > {_COVERED} THEN {refuse}; END IF; RETURN OLD; END $$"
    )
    for name, event, when, sqlite_only in _TRIGGERS:
        if sqlite_only:
            continue
        # PostgreSQL allows no query in WHEN
        act, condition = ("audit_covered", "") if "SELECT" in when else ("audit_refuse", f"WHEN ({when})" if when else "")
        op.execute(f"CREATE TRIGGER {name} BEFORE {event} FOR EACH ROW {condition} EXECUTE FUNCTION {act}()")
    for table in ("audit", "audit_marks"):
        act = "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
        op.execute(f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} {act}")


def _tables() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("object", sa.Text),
        sa.Column("subject", sa.String(64)),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_actor", "audit", ["actor"])
    op.create_index("ix_audit_object", "audit", ["object"])
    marks = op.create_table(
        "audit_marks",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_audit_marks"),
    )
    op.bulk_insert(marks, [{"name": name, "seq": 0, "hash": "0" * 64} for name in ("head", "checkpoint")])
    op.create_table(
        "actors",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_actors"),
        sa.UniqueConstraint("name", "address", name="uq_actors_name_address"),
    )


def downgrade() -> None:
    for table in ("actors", "audit_marks", "audit"):  # their triggers go with them
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_refuse()")
        op.execute("DROP FUNCTION audit_covered()")
