"""Signs of what is open or running once the code is imported: clients, connections, threads, schedulers."""

from __future__ import annotations

from collections.abc import Iterator

from peaker.project.findings import Kind, Sign
from peaker.project.module import Module

OPEN_AT_ONCE = frozenset({
    "MySQLdb.connect", "cx_Oracle.connect", "kafka.KafkaConsumer", "kafka.KafkaProducer", "mysql.connector.connect",
    "oracledb.connect", "paramiko.SSHClient", "pika.BlockingConnection", "psycopg.connect", "psycopg2.connect",
    "psycopg2.pool.SimpleConnectionPool", "psycopg2.pool.ThreadedConnectionPool", "psycopg_pool.ConnectionPool",
    "pymongo.MongoClient", "pymysql.connect", "pyodbc.connect", "smtplib.SMTP", "smtplib.SMTP_SSL",
    "socket.create_connection", "socket.socket", "ldap3.Connection",
})  # fmt: skip

OPEN_AT_FIRST_USE = frozenset({
    "aioboto3.Session", "aiohttp.ClientSession", "boto3.client", "boto3.resource", "boto3.session.Session",
    "boto3.Session", "cassandra.cluster.Cluster", "elasticsearch.AsyncElasticsearch", "elasticsearch.Elasticsearch",
    "google.cloud.bigquery.Client", "google.cloud.firestore.Client", "google.cloud.storage.Client",
    "grpc.aio.insecure_channel", "grpc.aio.secure_channel", "grpc.insecure_channel", "grpc.secure_channel",
    "httpx.AsyncClient", "httpx.Client", "motor.motor_asyncio.AsyncIOMotorClient", "openai.AsyncOpenAI",
    "openai.OpenAI", "pymongo.AsyncMongoClient", "redis.ConnectionPool", "redis.Redis", "redis.StrictRedis",
    "redis.asyncio.Redis", "redis.asyncio.from_url", "redis.cluster.RedisCluster", "redis.from_url",
    "redis.Redis.from_url", "requests.Session", "requests.session", "sqlalchemy.create_engine",
    "sqlalchemy.ext.asyncio.create_async_engine", "sqlmodel.create_engine", "urllib3.PoolManager", "valkey.Valkey",
})  # fmt: skip

_THREADS = frozenset({
    "threading.Thread", "threading.Timer", "concurrent.futures.ThreadPoolExecutor",
    "concurrent.futures.ProcessPoolExecutor", "multiprocessing.Process", "multiprocessing.Pool",
    "multiprocessing.pool.ThreadPool", "sentry_sdk.init", "ddtrace.patch_all", "newrelic.agent.initialize",
    "prometheus_client.start_http_server", "opentelemetry.sdk.trace.export.BatchSpanProcessor",
})  # fmt: skip
_SCHEDULERS = ("apscheduler.schedulers.", "flask_apscheduler.", "rocketry.", "fastapi_utils.tasks.repeat_every")


def import_signs(module: Module) -> Iterator[Sign]:
    """Of one module: what it makes while it is imported, and schedulers wherever they are made."""
    for node in module.at_import:
        called = module.called(node)
        line = getattr(node, "lineno", 1)
        if called in OPEN_AT_ONCE:
            yield _sign(Kind.CLIENT, module, line, f"{called}() is open once the module is imported")
        elif called in OPEN_AT_FIRST_USE:
            yield _sign(Kind.CLIENT, module, line, f"{called}() is made at import, and connects at its first use")
        elif called in _THREADS or called.startswith(_SCHEDULERS):
            yield _sign(Kind.THREAD, module, line, f"{called}() at import")
    for function in module.functions:
        for node in function.nodes:
            if (called := module.called(node)).startswith(_SCHEDULERS):
                yield _sign(Kind.THREAD, module, getattr(node, "lineno", 1), f"{function.name}() makes {called}()")


def _sign(kind: Kind, module: Module, line: int, what: str) -> Sign:
    return Sign(kind=kind, path=module.path, line=line, what=what)
