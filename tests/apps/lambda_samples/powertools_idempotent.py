"""Powertools: the idempotency utility over a persistence layer of our own, SQLite in /tmp."""

import datetime
import os
import sqlite3
import tempfile

from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer, DataRecord

payments = 0


class SqliteLayer(BasePersistenceLayer):
    def __init__(self, path):
        self.path = path
        super().__init__()

    def _run(self, text, *values):
        with sqlite3.connect(self.path) as connection:
            connection.execute("create table if not exists records (key primary key, status, expiry, data)")
            return connection.execute(text, values).fetchone()

    def _get_record(self, idempotency_key):
        row = self._run("select key, status, expiry, data from records where key = ?", idempotency_key)
        if row is None:
            raise IdempotencyItemNotFoundError
        return DataRecord(idempotency_key=row[0], status=row[1], expiry_timestamp=row[2], response_data=row[3])

    def _put_record(self, data_record):
        now = int(datetime.datetime.now().timestamp())
        self._run("delete from records where key = ? and expiry < ?", data_record.idempotency_key, now)
        try:
            values = (data_record.idempotency_key, data_record.status, data_record.expiry_timestamp)
            self._run("insert into records values (?, ?, ?, '')", *values)
        except sqlite3.IntegrityError as error:
            raise IdempotencyItemAlreadyExistsError from error

    def _update_record(self, data_record):
        self._run(
            "update records set status = ?, expiry = ?, data = ? where key = ?",
            data_record.status,
            data_record.expiry_timestamp,
            data_record.response_data,
            data_record.idempotency_key,
        )

    def _delete_record(self, data_record):
        self._run("delete from records where key = ?", data_record.idempotency_key)


layer = SqliteLayer(os.path.join(tempfile.gettempdir(), f"idempotency-{os.urandom(8).hex()}.db"))
config = IdempotencyConfig(event_key_jmespath="order_id", raise_on_no_idempotency_key=True)


@idempotent(persistence_store=layer, config=config)
def lambda_handler(event, context):
    global payments
    payments += 1
    if event.get("fail"):
        raise RuntimeError("the bank does not answer")
    return {"order_id": event["order_id"], "payment": payments}
