"""The server, started by a client of the protocol in a process of its own, as programs start it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from fakes import BagOfWords, LongestFirst
from integrations.test_examples import installed

if not installed("mcp"):
    pytest.skip("needs mcp", allow_module_level=True)
from mcp import Client, StdioServerParameters, stdio_client

import tercet
from tercet import cli
from tercet.integrations.mcp import make_server

TESTS = Path(__file__).parent.parent
DOCS = [
    {"_id": "a1", "title": "Anaemia", "text": "iron deficiency", "year": 2020},
    {"_id": 2, "text": "iron"},
    {"_id": "long", "title": "Words", "text": "word " * 1000},
]
# The command with a model that needs no file, and that prints, as libraries of models do
SERVER = """
import sys
sys.path.insert(0, {tests!r})
import fakes
from tercet import cli, retriever
from tercet.commands import loading

class Noisy(fakes.BagOfWords):
    def encode_query(self, texts):
        print("noise")
        return super().encode_query(texts)

def load(*_):
    print("noise")
    return Noisy()

retriever.load_recorded = load
loading.load_reranker = lambda name: fakes.LongestFirst()
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tercet.Retriever.create(tmp_path / "notes", encoder=BagOfWords()) as notes:
        notes.add(DOCS)
    return tmp_path / "notes"


def command(*args: str) -> list[str]:
    return ["-c", SERVER.format(tests=str(TESTS)), "mcp", *args]


def session(talk: Callable[[Client], Coroutine[Any, Any, None]], *args: str) -> None:
    """Start the server, let ``talk`` ask it, and end it."""
    parameters = StdioServerParameters(command=sys.executable, args=command(*args))

    async def run() -> None:
        async with Client(stdio_client(parameters)) as client:
            await talk(client)

    asyncio.run(asyncio.wait_for(run(), 120))


def test_a_session(folder: Path) -> None:
    with tercet.Retriever.open(folder, BagOfWords()) as notes:
        expected = notes.search("iron deficiency", 2)

    async def talk(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {*tools} == {"search", "fetch"}
        assert "about nutrition" in str(tools["search"].description)
        assert tools["search"].input_schema["required"] == ["query"]
        assert tools["search"].input_schema["properties"]["k"]["default"] == 10
        found = await client.call_tool("search", {"query": "iron deficiency", "k": 2})
        assert not found.is_error
        results = found.structured_content["result"]
        assert [r["id"] for r in results] == [str(r.id) for r in expected]
        assert [r["score"] for r in results] == pytest.approx([r.score for r in expected])
        assert results[0] == {
            "id": "a1",
            "title": "Anaemia",
            "text": "iron deficiency",
            "metadata": {"year": 2020},
            "score": results[0]["score"],
        }
        assert json.loads(found.content[0].text) == results[0]  # for clients that read texts alone
        assert len((await client.call_tool("search", {"query": "iron"})).structured_content["result"]) == 3

    session(talk, str(folder), "--about", "nutrition")


def test_long_texts_are_cut_and_fetched_whole(folder: Path) -> None:
    async def talk(client: Client) -> None:
        found = await client.call_tool("search", {"query": "word", "k": 1})
        (result,) = found.structured_content["result"]
        assert result["text"] == DOCS[2]["text"][:1000] + " ..."
        whole = await client.call_tool("fetch", {"id": "long"})
        assert whole.structured_content == {
            "id": "long",
            "title": "Words",
            "text": DOCS[2]["text"],
            "metadata": {},
        }
        number = await client.call_tool("fetch", {"id": "2"})
        assert number.structured_content["text"] == "iron"

    session(talk, str(folder))


def test_a_reranker(folder: Path) -> None:
    async def talk(client: Client) -> None:
        found = await client.call_tool("search", {"query": "iron", "k": 1})
        assert found.structured_content["result"][0]["id"] == "long"

    session(talk, str(folder), "--rerank", "longest")


def test_errors_are_for_the_model_to_read(folder: Path) -> None:
    async def talk(client: Client) -> None:
        for tool, arguments, message in (
            ("search", {"query": " "}, "query 0: expected text, got ' '"),
            ("search", {"query": "iron", "k": 0}, "greater than or equal to 1"),
            ("search", {}, "query"),
            ("fetch", {"id": "nowhere"}, "no document with id 'nowhere'"),
        ):
            answer = await client.call_tool(tool, arguments)
            assert answer.is_error
            assert message in answer.content[0].text
        assert not (await client.call_tool("search", {"query": "iron"})).is_error  # it goes on

    session(talk, str(folder))


def test_calls_at_once_take_turns(folder: Path) -> None:
    async def talk(client: Client) -> None:
        calls = [client.call_tool("search", {"query": word, "k": 1}) for word in ["iron", "word"] * 8]
        answers = [answer.structured_content["result"][0]["id"] for answer in await asyncio.gather(*calls)]
        assert answers == ["2", "long"] * 8

    session(talk, str(folder))


def test_nothing_but_the_protocol_on_stdout(folder: Path) -> None:
    opening = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    search = {"name": "search", "arguments": {"query": "iron"}}
    lines = [
        opening,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": search},
    ]
    server = subprocess.Popen(
        [sys.executable, *command(str(folder))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdin
    assert server.stdout
    assert server.stderr
    with server:
        server.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline()) for _ in range(2)]
        server.stdin.close()
        assert server.stdout.read() == ""
        assert "noise" in server.stderr.read()
    assert server.returncode == 0
    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[0]["result"]["serverInfo"] == {"name": "tercet", "version": tercet.__version__}


def test_what_does_not_start(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mcp", str(tmp_path / "nowhere")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nowhere" in captured.err
    with tercet.Retriever.open(folder, BagOfWords()) as notes:
        with pytest.raises(TypeError, match="expected an object such as"):
            make_server(notes, rerank="a model")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="depth: expected at least 1"):
            make_server(notes, rerank=LongestFirst(), depth=0)
