"""SAM and CloudFormation templates: what becomes a function here, and what is only said."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from peaker.project.draft import Answers, draft
from peaker.project.findings import Function, Project, Template
from peaker.project.look import look_at
from peaker.settings import load_settings

SAM = """\
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  Level: {Type: String}
Globals:
  Function:
    Runtime: python3.12
    Timeout: 20
    MemorySize: 256
    Environment:
      Variables:
        LOG_LEVEL: info
        DEBUG: true
        TABLE: !Ref Table
        DB_PASSWORD: correct-horse
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: hello-world/
      Handler: app.lambda_handler
      MemorySize: 1024
      Environment:
        Variables:
          GREETING: "Grüße,\\n\\"you\\""
          URL: !Sub "https://${Api}.example"
      Events:
        Get: {Type: Api, Properties: {Path: /hello, Method: get}}
      Policies:
        - DynamoDBReadPolicy: {TableName: !Ref Table}
      Layers: [!Ref Deps]
  Nested:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: nested-one
      CodeUri: src
      Handler: pkg.work.run
      Timeout: !Ref Level
      ReservedConcurrentExecutions: 5
      ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions: 2}
  Node:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: n/, Handler: index.handler, Runtime: nodejs22.x}
  Inline:
    Type: AWS::Lambda::Function
    Properties: {Handler: index.handler, Runtime: python3.12, Code: {ZipFile: "def handler(e, c): ..."}}
  Gone:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: ../elsewhere, Handler: app.handler}
  Image:
    Type: AWS::Serverless::Function
    Properties: {PackageType: Image}
  Bucketed:
    Type: AWS::Lambda::Function
    Properties: {Handler: index.handler, Runtime: python3.12, Code: {S3Bucket: b, S3Key: k}}
  Table:
    Type: AWS::DynamoDB::Table
"""

HANDLER = "import helper\ndef lambda_handler(event, context):\n    return helper.answer(event)\n"


def project(tmp_path: Path, template: str = SAM, name: str = "template.yaml") -> Project:
    for path, text in {
        "hello-world/app.py": HANDLER,
        "hello-world/helper.py": "def answer(event):\n    return event\n",
        "src/pkg/work.py": "def run(event, context): ...\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / name).write_text(template, encoding="utf-8")
    return look_at(tmp_path)


def only(found: Project) -> Template:
    [template] = found.templates
    return template


def function(found: Project, name: str) -> Function:
    return next(one for one in only(found).functions if one.name == name)


def test_functions_keep_handler_memory_time_and_literal_variables(tmp_path: Path) -> None:
    found = project(tmp_path)

    hello, nested = function(found, "Hello"), function(found, "nested-one")

    assert (hello.handler, hello.memory_mb, hello.line) == ("hello-world/app.lambda_handler", 1024, 2)
    assert hello.env == (("GREETING", 'Grüße,\n"you"'),)
    assert hello.import_root == "hello-world"  # It imports its helper from there.
    assert (nested.handler, nested.timeout_s) == ("src/pkg/work.run", None)
    assert (nested.concurrency_max, nested.buffer) == (5, 2)
    template = only(found)
    assert (template.memory_mb, template.timeout_s) == (256, 20)
    assert template.env == (("LOG_LEVEL", "info"), ("DEBUG", "true"))


def test_what_cannot_be_carried_over_is_said_and_secrets_are_not_copied(tmp_path: Path) -> None:
    found = project(tmp_path)

    notes = "\n".join([*only(found).notes, *function(found, "Hello").notes, *function(found, "nested-one").notes])

    for said in (
        "TABLE = !Ref Table is only known when it is deployed",
        "DB_PASSWORD looks like a secret",
        "URL = !Sub https://${Api}.example",
        "event Get: Api get /hello",
        "layer !Ref Deps: name its folder",
        "not carried over: Policies",
        "Timeout = !Ref Level",
        "Node: its runtime is nodejs22.x",
        "Inline: its code stands in the template",
        "Gone: there is no ../elsewhere/app.py in this project",
        "Image: it is a container image",
        "Bucketed: its code is not in this project",
        "resources that stay on AWS: 1 AWS::DynamoDB::Table",
    ):
        assert said in notes
    assert "correct-horse" not in notes + draft(found, Answers(app=None, spill=False))


def test_the_file_that_is_written_loads_and_says_the_same(tmp_path: Path) -> None:
    text = draft(project(tmp_path), Answers(app=None, spill=False))
    (tmp_path / "peaker.toml").write_text(text, encoding="utf-8")

    settings = load_settings(tmp_path / "peaker.toml")

    assert [(one.name, one.handler, one.memory_mb) for one in settings.function] == [
        ("Hello", "hello-world/app.lambda_handler", 1024), ("nested-one", "src/pkg/work.run", None),
    ]  # fmt: skip
    assert settings.function[0].env == {"GREETING": 'Grüße,\n"you"'}
    assert (settings.functions.memory_mb, settings.functions.timeout_s) == (256, 20)
    assert settings.env == {"LOG_LEVEL": "info", "DEBUG": "true", "PYTHONPATH": "hello-world"}
    assert "# Gone: there is no" not in tomllib.loads(text)  # Notes are comments.
    assert "Gone: there is no" in text


def test_a_template_in_json_says_the_same_as_one_in_yaml(tmp_path: Path) -> None:
    document = {
        "Resources": {
            "Hello": {
                "Type": "AWS::Serverless::Function",
                "Properties": {
                    "Runtime": "python3.12", "CodeUri": "hello-world", "Handler": "app.lambda_handler", "Timeout": 7,
                    "Environment": {"Variables": {"A": "1", "T": {"Ref": "Table"}, "S": {"Fn::Sub": "x${Y}"}}},
                },
            }
        }
    }  # fmt: skip
    found = function(project(tmp_path, json.dumps(document), "template.json"), "Hello")

    assert (found.handler, found.timeout_s, found.env) == ("hello-world/app.lambda_handler", 7, (("A", "1"),))
    assert [note.split(" is only")[0] for note in found.notes] == [
        "Environment: T = Ref: Table",
        "Environment: S = Fn::Sub: x${Y}",
    ]


def test_a_web_app_behind_an_adapter_is_served_itself(tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(
        "from fastapi import FastAPI\nfrom mangum import Mangum\napp = FastAPI()\nhandler = Mangum(app)\n"
    )
    template = "Resources:\n  Web:\n    Type: AWS::Serverless::Function\n    Properties: {Handler: web.handler}\n"

    found = project(tmp_path, template)

    assert [app.target for app in found.apps] == ["web:app"]
    assert only(found).functions == ()
    assert "Web: web.py:4 is the web app behind an adapter" in only(found).notes[0]


ALIASES = "a: &a [1]\n" + "b: [" + ", ".join(["*a"] * 200) + "]\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Resources: [", "template.yaml:1: it is not YAML"),
        ("- 1\n", "it holds no table"),
        ("a: !!python/object/apply:os.system ['touch ran']\n", "template.yaml"),
        (ALIASES, "more than 100 aliases"),
        ("[" * 5000, "template.yaml"),
    ],
    ids=["cut off", "a list", "an object", "aliases", "depth"],
)
def test_what_is_no_template_is_said_and_never_run(tmp_path: Path, text: str, told: str) -> None:
    found = project(tmp_path, text)

    assert found.templates == ()
    assert any(told in remark for remark in found.remarks), found.remarks
    assert not Path("ran").exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "value",
    [
        "Resources: 7",
        "Resources: {A: 7}",
        "Globals: [1]",
        "Resources: {A: {Type: AWS::Serverless::Function, Properties: 3}}",
    ],
)
def test_values_of_other_types_are_passed_over(tmp_path: Path, value: str) -> None:
    assert only(project(tmp_path, value)).functions == ()


def test_without_pyyaml_the_template_is_named_with_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(SAM, encoding="utf-8")
    script = (
        "import sys; sys.modules['yaml'] = None\n"
        "from pathlib import Path; from peaker.project.look import look_at\n"
        "print(look_at(Path('.')).remarks)"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert "template.yaml was not read" in done.stdout
    assert "pip install 'peaker[sam]'" in done.stdout


SCHEDULED = """\
Resources:
  Nightly:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: hello-world/
      Handler: app.lambda_handler
      Runtime: python3.12
      Events:
        Old: {Type: Schedule, Properties: {Schedule: "rate(5 minutes)"}}
        New:
          Type: ScheduleV2
          Properties:
            ScheduleExpression: cron(0 7 ? * MON-FRI *)
            ScheduleExpressionTimezone: Europe/Berlin
            Input: '{"kind": "daily"}'
        Paused: {Type: Schedule, Properties: {Schedule: "rate(1 day)", Enabled: false}}
        Later: {Type: Schedule, Properties: {Schedule: !Ref Beat}}
        Wrong: {Type: Schedule, Properties: {Schedule: "rate(5 fortnights)"}}
"""


def test_schedules_that_are_known_are_carried_over_and_others_are_said(tmp_path: Path) -> None:
    found = project(tmp_path, SCHEDULED)
    nightly = function(found, "Nightly")
    (tmp_path / "peaker.toml").write_text(draft(found, Answers(app=None, spill=False)), encoding="utf-8")
    triggers = load_settings(tmp_path / "peaker.toml").function[0].on

    assert [(one.schedule, one.timezone, one.input) for one in triggers] == [
        ("rate(5 minutes)", "UTC", ""),
        ("cron(0 7 ? * MON-FRI *)", "Europe/Berlin", '{"kind": "daily"}'),
    ]
    assert [note.split(":")[0] for note in nightly.notes] == ["event Paused", "event Later", "event Wrong"]
