"""datasette over one read-only database, as `datasette serve` would build it."""

import os

from datasette.app import Datasette

app = Datasette(
    immutables=[os.environ["CATALOGUE_DB"]],
    settings={"default_page_size": 20, "num_sql_threads": 1},
    metadata={"title": "Catalogue of seats"},
).app()
