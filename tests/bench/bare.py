"""The least that a REST door does, in the framework and with the driver that ours uses: nothing, or one query."""

import json
import os
import sys

import asyncpg
import uvicorn
from fastapi import FastAPI


def application(url: str) -> FastAPI:
    app = FastAPI()
    pool: list[asyncpg.Pool] = []

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/row")
    async def row() -> dict[str, object]:
        if not pool:
            pool.append(await asyncpg.create_pool(url, min_size=8, max_size=8))
        found = await pool[0].fetchrow("SELECT key, spec FROM objects WHERE key = $1", "Machine/pc007")
        return {"name": found["key"], "spec": json.loads(found["spec"])}

    return app


def main() -> None:
    app = application(os.environ["BENCH_DATABASE"])
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="critical", access_log=False
    )


if __name__ == "__main__":
    main()
