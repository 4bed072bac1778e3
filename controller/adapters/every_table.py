"""All tables, for what goes by every one of them: a table is in the metadata only once its module is loaded."""

from controller.adapters import tables, tables_bindings, tables_identity, tables_resources, tables_uploads

_MODULES = (tables, tables_bindings, tables_identity, tables_resources, tables_uploads)
metadata = tables.metadata
