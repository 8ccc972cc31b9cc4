"""What handlers log, in the forms of AWS's own runtime."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap

TEXT_LINE = r"\[{level}\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\tr-1\t{message}"


def logged(code: str, **variables: str) -> list[str]:
    """What a fresh process with Lambda's root handler writes when it runs `code`."""
    program = "import logging, sys\nfrom peaker.functions import runtime_log\nruntime_log.install_root_handler()\n"
    program += 'runtime_log.set_running("r-1")\n' + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={"TZ": "Asia/Tokyo", **variables},
        check=True,
        timeout=30,
    )
    return done.stdout.decode().splitlines()


def test_a_record_has_level_time_and_request_between_tabs() -> None:
    warning, error = logged("""
        logging.info("below the usual level")
        logging.warning("%s seats", 3)
        logging.getLogger("shop").error("sold out")
    """)
    assert re.fullmatch(TEXT_LINE.format(level="WARNING", message="3 seats"), warning)
    assert re.fullmatch(TEXT_LINE.format(level="ERROR", message="sold out"), error)


def test_times_are_utc() -> None:
    (line,) = logged("""
        import datetime
        logging.error(datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H"))
    """)
    stamp, said = re.findall(r"\d{4}-\d\d-\d\dT\d\d", line)
    assert stamp == said or stamp[:11] == said[:11]  # the hour may turn between the two


def test_the_log_level_comes_from_the_environment() -> None:
    (line,) = logged("logging.debug('a'); logging.info('b')", AWS_LAMBDA_LOG_LEVEL="INFO")
    assert line.startswith("[INFO]\t")
    assert len(logged("logging.debug('a')", AWS_LAMBDA_LOG_LEVEL="TRACE")) == 1
    assert logged("logging.error('a')", AWS_LAMBDA_LOG_LEVEL="FATAL") == []


def test_records_stand_behind_what_was_printed_before_them() -> None:
    lines = logged("print('first', end='\\n'); logging.error('second'); print('third')")
    assert [line.rpartition("\t")[2] for line in lines] == ["first", "second", "third"]


def test_a_replaced_or_closed_stdout_loses_no_record() -> None:
    assert len(logged("import io; sys.stdout = io.StringIO(); logging.error('a'); print('lost')")) == 1
    assert len(logged("sys.stdout.close(); logging.error('a'); sys.stdout = sys.__stdout__ = None")) == 1


def test_json_records_have_awss_keys_and_the_extra_ones() -> None:
    (line,) = logged("logging.error('sold %s', 'out', extra={'seat': 'A1', 'odd': {1}})", AWS_LAMBDA_LOG_FORMAT="JSON")
    record = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record.pop("timestamp"))
    assert record == {
        "level": "ERROR",
        "message": "sold out",
        "logger": "root",
        "requestId": "r-1",
        "seat": "A1",
        "odd": "{1}",
    }


def test_a_json_record_of_an_exception_tells_type_place_and_stack() -> None:
    (line,) = logged(
        """
        def sell():
            try:
                1 / 0
            except ZeroDivisionError:
                logging.exception({"seat": "A1"})
        sell()
        """,
        AWS_LAMBDA_LOG_FORMAT="JSON",
    )
    record = json.loads(line)
    assert (record["errorType"], record["errorMessage"]) == ("ZeroDivisionError", "division by zero")
    assert record["message"] == {"seat": "A1"}
    assert ":sell:" in record["location"]
    assert "in sell" in record["stackTrace"][0]


ERROR = """
    runtime_log.log_error({
        "errorMessage": "no seat", "errorType": "KeyError", "requestId": "r-1",
        "stackTrace": ['  File "/a.py", line 1, in sell\\n    raise\\n'],
    })
"""


def test_an_error_is_one_block_whose_indents_outlive_cloudwatch() -> None:
    assert logged(ERROR) == [
        "[ERROR] KeyError: no seat",
        "Traceback (most recent call last):",
        '\u00a0\u00a0File "/a.py", line 1, in sell',
        "\u00a0\u00a0\u00a0\u00a0raise",
    ]


def test_an_error_in_json_is_one_object() -> None:
    (line,) = logged(ERROR, AWS_LAMBDA_LOG_FORMAT="JSON")
    record = json.loads(line)
    assert (record["level"], record["errorType"], record["requestId"]) == ("ERROR", "KeyError", "r-1")
