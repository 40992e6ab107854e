"""What `POST /api/tasks` is compared with: the same body validated by FastAPI, one row inserted, 202."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import uuid_utils
import uvicorn
from fastapi import FastAPI, Request
from grace_common.contract.events.task import Specification


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(sys.argv[2], min_size=8, max_size=8) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/tasks", status_code=202)
async def submit(specification: Specification, request: Request) -> dict[str, str]:
    id_ = UUID(bytes=uuid_utils.uuid7().bytes)
    await request.app.state.pool.execute("INSERT INTO bare VALUES ($1, $2)", id_, specification.model_dump_json())
    return {"id": str(id_)}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
