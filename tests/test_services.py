"""Commercial services: nothing leaves the machine unconfirmed, and each kind of answer and failure is one row.

Answers have the shapes of the services' public documentation, linked in `evaluation/services/adapters.py`. Face++ is
played by a server on this machine. SDKs that are not installed are played by classes of the same signatures.
"""

import base64
import importlib.util
import inspect
import io
import json
import socket
import sys
import threading
import types
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import fakes
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from amtgan_lib import datasets, paths
from amtgan_lib.evaluation import services
from amtgan_lib.evaluation.services import adapters, asking
from amtgan_lib.evaluation.services.answers import ANSWERED, NO_FACE, QUOTA, REFUSED, TIME_OUT, WRONG_KEY
from amtgan_lib.pipeline.parameters import read_notebook

SECRET = "not a key of anybody"
FIRST, SECOND = b"first picture", b"second picture"
RATES = {"1e-3": 62.3, "1e-4": 69.1, "1e-5": 73.9}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    """Keys for every service."""
    for service in services.SERVICES.values():
        for key in service.keys:
            monkeypatch.setenv(key, SECRET)


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    """The pauses, which are not made."""
    pauses: list[float] = []
    monkeypatch.setattr(asking, "time", SimpleNamespace(sleep=pauses.append))
    return pauses


@pytest.fixture
def sockets(monkeypatch) -> list[str]:
    """What would have left the machine: every name that is asked for and every connection, none of which is made."""
    tried: list[str] = []

    def refuse(*arguments, **_):
        tried.append(str(arguments))
        raise ConnectionRefusedError("no network in this test")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


def photo(colour: int, side: int = 40) -> Image.Image:
    """A photo that no other colour has the pixels of."""
    return Image.fromarray(np.full((side, side, 3), colour, np.uint8))


def pairs(count: int) -> pd.DataFrame:
    """Questions about one method: ``count`` photos, each with the target and with its owner's other photo."""
    known, rows = services.picture(photo(255)), []
    for colour in range(count):
        first, other = services.picture(photo(colour)), services.picture(photo(100 + colour))
        rows.append({"method": "clean", "metric": "impersonation", "first": first, "second": known})
        rows.append({"method": "clean", "metric": "dodging", "first": first, "second": other})
    return pd.DataFrame(rows)


def service(*scripted, name: str = "scripted", per_minute: float = 60):
    """A service that needs nothing and answers in this order; ``.sent`` counts what it got."""
    script, sent = iter(scripted), []

    def compare(first: bytes, second: bytes) -> services.Score:
        sent.append((first, second))
        said = next(script)
        if isinstance(said, Exception):
            raise said
        return services.Score(said, {"1e-3": 60.0, "1e-5": 75.0})

    return services.Service(name, compare, (), "", per_minute), sent


# ---------------------------------------------------------------- nothing leaves unasked


def test_without_confirmation_no_socket_is_opened_and_nobody_is_asked(tmp_path, sockets, slept):
    facepp, asked, answers = services.named(["facepp"]), pairs(1), services.Answers(tmp_path)
    services.estimate(facepp, asked, answers, {"facepp": 1.0})
    with pytest.raises(services.NotConfirmed, match="nothing was sent"):
        services.ask(facepp, asked, answers, {"facepp": 1.0})
    assert sockets == [] and list(tmp_path.iterdir()) == []
    services.ask(facepp, asked, answers, {"facepp": 1.0}, confirm=True)
    assert "api-us.faceplusplus.com" in sockets[0], "the guard sees what a confirmed run sends"


def test_a_service_without_a_price_is_not_asked(tmp_path):
    scripted, sent = service(80.0)
    with pytest.raises(ValueError, match="scripted has no price"):
        services.ask([scripted], pairs(1), services.Answers(tmp_path), {}, confirm=True)
    assert sent == []


def test_a_service_that_lacks_a_key_or_its_package_is_named_and_not_asked(tmp_path, monkeypatch, sockets):
    monkeypatch.delenv("FACEPP_API_SECRET")
    lacking = services.Service("other", adapters.facepp, (), "a-package-that-is-nowhere", per_minute=60)
    both, answers = [*services.named(["facepp"]), lacking], services.Answers(tmp_path)
    missing = services.estimate(both, pairs(1), answers, {})["missing"]
    assert missing["facepp"] == "FACEPP_API_SECRET"
    assert "a-package-that-is-nowhere" in missing["other"] and "extra `services`" in missing["other"]
    services.ask(both, pairs(1), answers, {}, confirm=True)
    assert sockets == []


def test_only_pixels_are_sent_and_no_name_place_or_comment(tmp_path):
    exif = Image.Exif()
    exif[0x010E], exif[0x9286] = "Annabel at home", "a comment"
    file = tmp_path / "annabel.jpg"
    Image.effect_noise((900, 600), 60).convert("RGB").save(file, exif=exif, comment=b"Annabel at home")
    assert b"Annabel" in file.read_bytes()
    picture = services.picture(file, side=300)
    with Image.open(io.BytesIO(picture.png)) as sent:
        assert sent.format == "PNG" and sent.size == (300, 200) and sent.info == {} and len(sent.getexif()) == 0
    assert b"annabel" not in picture.png.lower()  # three letters alone occur in noise
    assert picture.sha256 != services.picture(file, side=299).sha256
    assert picture == services.picture(file, side=300)


def test_an_answer_is_stored_with_its_date_and_without_keys_or_paths(tmp_path):
    scripted, _ = service(80.0, 55.0)
    answers = services.Answers(tmp_path / "of somebody")
    services.ask([scripted], pairs(1), answers, {"scripted": 0}, confirm=True)
    files = sorted((tmp_path / "of somebody").rglob("*.json"))
    assert len(files) == 2
    for file in files:
        text = file.read_text(encoding="utf-8")
        stored = json.loads(text)
        assert stored["asked"][:2] == "20" and stored["asked"].endswith("+00:00")
        assert file.stem == f"{stored['first']}-{stored['second']}" and len(stored["first"]) == 64
        assert SECRET not in text and "somebody" not in text


def test_an_error_keeps_its_code_and_never_the_sentence_around_it():
    told = services.Failure.of("AccessDenied: arn:aws:iam::1234:user/ann may not", adapters.AMAZON)
    assert (told.outcome, told.code) == (WRONG_KEY, "AccessDenied")


# ---------------------------------------------------------------- the runner


def test_what_was_answered_is_not_asked_again_and_what_failed_is(tmp_path, slept):
    timeouts = [services.Failure(TIME_OUT)] * asking.TRIES
    scripted, sent = service(80.0, services.Failure(NO_FACE), *timeouts, 40.0, 90.0)
    asked, answers = pairs(2), services.Answers(tmp_path)
    for to_ask, calls in ((4, 3 + asking.TRIES), (1, 1), (0, 0)):
        before = len(sent)
        assert services.estimate([scripted], asked, answers, {}).loc["scripted", "comparisons"] == to_ask
        services.ask([scripted], asked, answers, {"scripted": 0}, confirm=True)
        assert len(sent) - before == calls
    found = services.outcomes([scripted], asked, answers).set_index("outcome")["pairs"]
    assert found.to_dict() == {ANSWERED: 3, NO_FACE: 1}


def test_tries_are_spaced_wider_each_time_and_comparisons_at_the_services_pace(tmp_path, slept):
    scripted, _ = service(services.Failure(QUOTA), services.Failure(TIME_OUT), 80.0, 80.0, per_minute=6)
    services.ask([scripted], pairs(1), services.Answers(tmp_path), {"scripted": 0}, confirm=True)
    assert slept == [2.0, 4.0, 10.0, 10.0]


@pytest.mark.parametrize(("outcome", "calls"), [(WRONG_KEY, 1), (QUOTA, asking.TRIES), (REFUSED, 6), (NO_FACE, 6)])
def test_a_failure_is_one_row_and_a_wrong_key_or_a_spent_quota_ends_the_asking(tmp_path, slept, outcome, calls):
    scripted, sent = service(*[services.Failure(outcome, "code")] * 20)
    asked, answers = pairs(3), services.Answers(tmp_path)
    services.ask([scripted], asked, answers, {"scripted": 0}, confirm=True)
    assert len(sent) == calls
    (row,) = services.outcomes([scripted], asked, answers).to_dict("records")
    assert (row["outcome"], row["code"], row["pairs"]) == (outcome, "code", 6 if calls == 6 else 1)


def test_one_failing_service_leaves_the_others_alone(tmp_path, slept):
    bad, _ = service(services.Failure(WRONG_KEY))
    good, sent = service(80.0, 50.0, name="good")
    answers = services.Answers(tmp_path)
    services.ask([bad, good], pairs(1), answers, {"scripted": 0, "good": 0}, confirm=True)
    assert len(sent) == 2


def test_an_answer_of_an_unknown_shape_is_a_row(tmp_path, slept):
    scripted, _ = service(KeyError("confidence"), TypeError())
    answers = services.Answers(tmp_path)
    services.ask([scripted], pairs(1), answers, {"scripted": 0}, confirm=True)
    found = services.outcomes([scripted], pairs(1), answers)
    assert found["code"].tolist() == ["unknown answer KeyError", "unknown answer TypeError"]
    assert set(found["outcome"]) == {REFUSED}


def test_the_estimate_counts_each_pair_once_and_each_transaction(tmp_path):
    asked = pd.concat([pairs(3), pairs(3)])
    plan = services.estimate(services.named(["facepp", "azure"]), asked, services.Answers(tmp_path), {"azure": 2.0})
    assert plan["comparisons"].tolist() == [6, 6] and plan["minutes"].tolist() == pytest.approx([0.1, 0.1])
    assert np.isnan(plan.loc["facepp", "cost"]) and plan.loc["azure", "cost"] == pytest.approx(6 * 3 * 2.0 / 1000)


def test_rates_count_at_the_lowest_threshold_without_favour_for_lost_faces(tmp_path, slept):
    """Impersonation: 80 and 60 of three are accepted. Dodging: 59 is hidden, 70 is not, a lost face is no success."""
    said = [80.0, 59.0, 60.0, 70.0, 10.0, services.Failure(NO_FACE)]
    scripted, _ = service(*said)
    asked, answers = pairs(3), services.Answers(tmp_path)
    services.ask([scripted], asked, answers, {"scripted": 0}, confirm=True)
    facts = {"experiment": "e", "preset": "p", "dataset": "d", "target": "t"}
    table = services.success_table([scripted], asked, answers, **facts).set_index("metric")
    assert table["value"].to_dict() == pytest.approx(
        {"impersonation": 2 / 3, "score, impersonation": 50, "dodging": 1 / 3, "score, dodging": 64.5}
    )
    assert table["n"].to_dict() == {"impersonation": 3, "score, impersonation": 3, "dodging": 3, "score, dodging": 2}
    assert (table["far"] == 0.001).all() and table["note"].str.fullmatch(r"asked 20\S+ to 20\S+, held out").all()


def test_failed_calls_count_neither_for_nor_against(tmp_path, slept):
    scripted, _ = service(80.0, services.Failure(WRONG_KEY))
    asked, answers = pairs(2), services.Answers(tmp_path)
    services.ask([scripted], asked, answers, {"scripted": 0}, confirm=True)
    facts = {"experiment": "e", "preset": "p", "dataset": "d", "target": "t"}
    table = services.success_table([scripted], asked, answers, **facts).set_index("metric")
    assert table["n"].to_dict() == {"impersonation": 1, "score, impersonation": 1, "dodging": 0, "score, dodging": 0}
    assert table.loc["impersonation", "value"] == 1 and np.isnan(table.loc["dodging", "value"])


def test_a_photo_that_was_not_protected_is_asked_about_as_it_would_be_published(tmp_path):
    for name, colour in (("a", 1), ("b", 2), ("a2", 3), ("b2", 4), ("target", 5), ("safe", 6)):
        photo(colour).save(tmp_path / f"{name}.png")
    sources = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    report = pd.DataFrame({"source": sources, "other": ["A", "B"], "protected": [str(tmp_path / "safe.png"), ""]})
    others = {"A": tmp_path / "a2.png", "B": tmp_path / "b2.png"}
    asked = services.questions({"pgd": report}, tmp_path / "target.png", others)
    colours = [
        (
            row.method,
            row.metric,
            *(Image.open(io.BytesIO(each.png)).getpixel((0, 0))[0] for each in (row.first, row.second)),
        )
        for row in asked.itertuples()
    ]
    clean = [("clean", "impersonation", 1, 5), ("clean", "dodging", 1, 3)]
    clean += [("clean", "impersonation", 2, 5), ("clean", "dodging", 2, 4)]
    pgd = [
        ("pgd", "impersonation", 6, 5),
        ("pgd", "dodging", 6, 3),
        ("pgd", "impersonation", 2, 5),
        ("pgd", "dodging", 2, 4),
    ]
    assert colours == clean + pgd


def test_an_unknown_service_is_refused_by_name():
    with pytest.raises(ValueError, match="'bing'; there are facepp, aliyun, azure, rekognition"):
        services.named(["facepp", "bing"])


# ---------------------------------------------------------------- Face++, by a server here


@dataclass
class Played:
    """What the server here answers next, and the forms that it got."""

    status: int = 200
    body: object = None
    stall: threading.Event | None = None
    forms: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def played(monkeypatch):
    played = Played()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            played.forms.append(dict(urllib.parse.parse_qsl(form, strict_parsing=True)))
            if played.stall:
                played.stall.wait(20)
            text = played.body if isinstance(played.body, str) else json.dumps(played.body)
            self.send_response(played.status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        monkeypatch.setenv("FACEPP_ADDRESS", f"http://127.0.0.1:{web.server_port}/facepp/v3/compare")
        yield played
        web.shutdown()


BOX = {"face_rectangle": {"top": 1, "left": 2, "width": 150, "height": 150}, "face_token": "c2fc0ad7"}


def test_facepp_gets_the_documented_form_and_brings_its_thresholds(played):
    played.body = {"confidence": 96.46, "thresholds": RATES, "faces1": [BOX], "faces2": [BOX], "time_used": 473}
    assert adapters.facepp(FIRST, SECOND) == services.Score(96.46, RATES)
    (form,) = played.forms
    assert (form.pop("api_key"), form.pop("api_secret")) == (SECRET, SECRET)
    assert {name: base64.b64decode(text) for name, text in form.items()} == {
        "image_base64_1": FIRST,
        "image_base64_2": SECOND,
    }


@pytest.mark.parametrize(
    ("status", "body", "outcome", "code"),
    [
        (200, {"faces1": [BOX], "faces2": [], "time_used": 473}, NO_FACE, ""),
        (401, {"error_message": "AUTHENTICATION_ERROR"}, WRONG_KEY, "AUTHENTICATION_ERROR"),
        (403, {"error_message": "AUTHORIZATION_ERROR:Denied by Admin"}, WRONG_KEY, "AUTHORIZATION_ERROR"),
        (403, {"error_message": "AUTHORIZATION_ERROR:Insufficient Account Balance"}, QUOTA, "AUTHORIZATION_ERROR"),
        (403, {"error_message": "CONCURRENCY_LIMIT_EXCEEDED"}, QUOTA, "CONCURRENCY_LIMIT_EXCEEDED"),
        (400, {"error_message": "IMAGE_FILE_TOO_LARGE: image_base64_1"}, REFUSED, "IMAGE_FILE_TOO_LARGE"),
        (413, "Request Entity Too Large", REFUSED, "413"),
        (500, {"error_message": "INTERNAL_ERROR"}, TIME_OUT, "INTERNAL_ERROR"),
        (502, "<html>Bad Gateway</html>", TIME_OUT, "502"),
    ],
)
def test_each_failure_of_facepp_has_its_outcome(played, status, body, outcome, code):
    played.status, played.body = status, body
    with pytest.raises(services.Failure) as failed:
        adapters.facepp(FIRST, SECOND)
    assert (failed.value.outcome, failed.value.code) == (outcome, code)


def test_a_silent_or_missing_facepp_is_a_time_out(played, monkeypatch):
    monkeypatch.setattr(adapters, "SECONDS", 0.2)
    played.body, played.stall = {}, threading.Event()
    with pytest.raises(services.Failure) as silent:
        adapters.facepp(FIRST, SECOND)
    played.stall.set()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FACEPP_ADDRESS", f"http://127.0.0.1:{closed.getsockname()[1]}/")
        with pytest.raises(services.Failure) as missing:
            adapters.facepp(FIRST, SECOND)
    assert [each.value.outcome for each in (silent, missing)] == [TIME_OUT, TIME_OUT]
    assert [each.value.code for each in (silent, missing)] == ["TimeoutError", "ConnectionRefusedError"]


@pytest.mark.parametrize("body", ["no JSON", {"time_used": 5}, [], {"confidence": None, "thresholds": RATES}])
def test_facepp_in_another_shape_is_a_row(played, body, tmp_path, slept):
    played.body = body
    asked, answers = pairs(1), services.Answers(tmp_path)
    services.ask(services.named(["facepp"]), asked, answers, {"facepp": 0}, confirm=True)
    (row,) = services.outcomes(services.named(["facepp"]), asked, answers).to_dict("records")
    assert row["outcome"] == REFUSED and row["code"].startswith("unknown answer") and row["pairs"] == 2


# ---------------------------------------------------------------- SDKs: the real ones, else classes that look like them


def provided(monkeypatch, module: str, **names: object) -> types.ModuleType:
    """The module of an installed SDK, else one of this name that has ``names``."""
    if importlib.util.find_spec(module.partition(".")[0]):
        return importlib.import_module(module)
    stands_in = types.ModuleType(module)
    vars(stands_in).update(names)
    monkeypatch.setitem(sys.modules, module, stands_in)
    return stands_in


def outcome_of(compare) -> tuple[str, str]:
    with pytest.raises(services.Failure) as failed:
        compare(FIRST, SECOND)
    return failed.value.outcome, failed.value.code


class AmazonError(Exception):
    """As botocore's ClientError."""

    def __init__(self, error_response: dict, operation_name: str):
        self.response = error_response


@pytest.fixture
def amazon(monkeypatch):
    """A client whose next answers, or errors, are those of a list."""
    http_error = type("HTTPClientError", (Exception,), {"__init__": lambda self, **_: None})
    errors = provided(monkeypatch, "botocore.exceptions", ClientError=AmazonError, HTTPClientError=http_error)
    said: list = []

    def compare_faces(*, SourceImage: dict, TargetImage: dict, SimilarityThreshold: float) -> dict:
        assert (SourceImage, TargetImage, SimilarityThreshold) == ({"Bytes": FIRST}, {"Bytes": SECOND}, 0)
        if isinstance(answer := said.pop(0), Exception):
            raise answer
        return answer

    monkeypatch.setattr(adapters, "rekognition_client", lambda: SimpleNamespace(compare_faces=compare_faces))
    return said, errors


def test_rekognition_takes_the_best_match_and_its_default_threshold(amazon):
    said, _ = amazon
    said.append({"SourceImageFace": {"Confidence": 99.9}, "FaceMatches": [{"Similarity": 12.5}, {"Similarity": 3.0}]})
    assert adapters.rekognition(FIRST, SECOND) == services.Score(12.5, {"default": 80.0})
    said.append({"SourceImageFace": {"Confidence": 99.9}, "FaceMatches": [], "UnmatchedFaces": []})
    assert outcome_of(adapters.rekognition) == (NO_FACE, "")


AMAZON_CODES = [
    ("InvalidParameterException", NO_FACE),
    ("UnrecognizedClientException", WRONG_KEY),
    ("AccessDeniedException", WRONG_KEY),
    ("ThrottlingException", QUOTA),
    ("ProvisionedThroughputExceededException", QUOTA),
    ("InternalServerError", TIME_OUT),
    ("ImageTooLargeException", REFUSED),
]


@pytest.mark.parametrize(("code", "outcome"), AMAZON_CODES)
def test_each_failure_of_rekognition_has_its_outcome(amazon, code, outcome):
    said, errors = amazon
    said.append(errors.ClientError({"Error": {"Code": code, "Message": "of arn:aws:iam::1:user/ann"}}, "CompareFaces"))
    assert outcome_of(adapters.rekognition) == (outcome, code)


def test_a_silent_rekognition_is_a_time_out(amazon):
    said, errors = amazon
    said.append(errors.HTTPClientError(error="silence"))
    assert outcome_of(adapters.rekognition) == (TIME_OUT, "HTTPClientError")


@pytest.mark.parametrize(("code", "outcome"), AMAZON_CODES)
def test_rekognition_speaks_the_sdks_own_language(monkeypatch, code, outcome):
    """botocore checks what is sent, and what comes back, against Amazon's description of CompareFaces."""
    stub = pytest.importorskip("botocore.stub", reason="boto3 is not installed")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    adapters.rekognition_client.cache_clear()
    client = adapters.rekognition_client()
    sent = {"SourceImage": {"Bytes": FIRST}, "TargetImage": {"Bytes": SECOND}, "SimilarityThreshold": 0}
    with stub.Stubber(client) as stubber:
        stubber.add_response("compare_faces", {"FaceMatches": [{"Similarity": 91.5}]}, sent)
        stubber.add_client_error("compare_faces", code, expected_params=sent)
        assert adapters.rekognition(FIRST, SECOND).value == 91.5
        assert outcome_of(adapters.rekognition) == (outcome, code)
        stubber.assert_no_pending_responses()
    adapters.rekognition_client.cache_clear()


@dataclass
class FaceClient:
    """As Microsoft's: faces of a picture by its bytes, and a confidence; an exception instead is raised."""

    faces: dict[bytes, list[str] | Exception]
    confidence: float = 0.0

    def detect(
        self, image_content: bytes, *, detection_model: str, recognition_model: str, return_face_id: bool,
        face_id_time_to_live: int | None = None, **kwargs
    ) -> list[SimpleNamespace]:  # fmt: skip
        assert return_face_id and 60 <= face_id_time_to_live <= 86400 and kwargs == {}
        assert (detection_model, recognition_model) == ("detection_03", "recognition_04")
        if isinstance(found := self.faces[image_content], Exception):
            raise found
        return [SimpleNamespace(face_id=each) for each in found]

    def verify_face_to_face(self, body=None, *, face_id1: str, face_id2: str, **kwargs) -> SimpleNamespace:
        assert (body, face_id1, face_id2, kwargs) == (None, "largest", "other", {})
        return SimpleNamespace(is_identical=self.confidence >= 0.5, confidence=self.confidence)


@pytest.fixture
def microsoft(monkeypatch):
    """The exceptions of the SDK, and how to have a client answer."""
    response_error = type("HttpResponseError", (Exception,), {"status_code": None, "error": None})
    silences = {name: type(name, (Exception,), {}) for name in ("ServiceRequestError", "ServiceResponseError")}
    errors = provided(monkeypatch, "azure.core.exceptions", HttpResponseError=response_error, **silences)
    return errors, lambda client: monkeypatch.setattr(adapters, "azure_client", lambda: client)


def test_azure_compares_the_largest_faces(microsoft):
    _, use = microsoft
    use(FaceClient({FIRST: ["largest", "small"], SECOND: ["other"]}, 0.61))
    assert adapters.azure(FIRST, SECOND) == services.Score(0.61, {"default": 0.5})
    use(FaceClient({FIRST: ["largest"], SECOND: []}))
    assert outcome_of(adapters.azure) == (NO_FACE, "")


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (401, "401", WRONG_KEY),
        (403, "UnsupportedFeature", WRONG_KEY),
        (403, "403", QUOTA),
        (429, "429", QUOTA),
        (500, "InternalServerError", TIME_OUT),
        (400, "InvalidImage", REFUSED),
    ],
)
def test_each_failure_of_azure_has_its_outcome(microsoft, status, code, outcome):
    errors, use = microsoft
    failure = errors.HttpResponseError("a sentence")
    failure.status_code, failure.error = status, SimpleNamespace(code=code)
    use(FaceClient({FIRST: failure}))
    assert outcome_of(adapters.azure) == (outcome, f"{status} {code}")


@pytest.mark.parametrize("name", ["ServiceRequestError", "ServiceResponseError"])
def test_a_silent_azure_is_a_time_out(microsoft, name):
    errors, use = microsoft
    use(FaceClient({FIRST: getattr(errors, name)("silence")}))
    assert outcome_of(adapters.azure) == (TIME_OUT, name)


def test_the_stand_in_for_azure_takes_what_the_sdk_takes():
    sdk = pytest.importorskip("azure.ai.vision.face", reason="azure-ai-vision-face is not installed")
    for name in ("detect", "verify_face_to_face"):
        real = inspect.signature(getattr(sdk.FaceClient, name)).parameters
        ours = inspect.signature(getattr(FaceClient, name)).parameters
        assert set(ours) <= set(real), f"{name} of the SDK has no {set(ours) - set(real)}"


@pytest.fixture
def alibaba(monkeypatch):
    """The SDK's exception, and what its client says next: data, or an exception."""

    def options(autoretry: bool = True) -> SimpleNamespace:
        return SimpleNamespace(autoretry=autoretry)

    def request(image_data_a: str | None = None, image_data_b: str | None = None) -> SimpleNamespace:
        return SimpleNamespace(image_data_a=image_data_a, image_data_b=image_data_b)

    tea_error = type("TeaException", (Exception,), {"__init__": lambda self, dic: vars(self).update(dic)})
    provided(monkeypatch, "alibabacloud_facebody20191230.models", CompareFaceRequest=request)
    provided(monkeypatch, "alibabacloud_tea_util.models", RuntimeOptions=options)
    errors, said = provided(monkeypatch, "Tea.exceptions", TeaException=tea_error), []

    def compare_face_with_options(request, runtime) -> SimpleNamespace:
        assert [base64.b64decode(text) for text in (request.image_data_a, request.image_data_b)] == [FIRST, SECOND]
        assert runtime.autoretry is False
        if isinstance(answer := said.pop(0), Exception):
            raise answer
        return SimpleNamespace(body=SimpleNamespace(data=answer))

    client = SimpleNamespace(compare_face_with_options=compare_face_with_options)
    monkeypatch.setattr(adapters, "aliyun_client", lambda: client)
    return errors, said


def test_aliyun_brings_its_thresholds(alibaba):
    _, said = alibaba
    said.append(SimpleNamespace(confidence=88.03, thresholds=[61.0, 69.0, 75.0]))
    assert adapters.aliyun(FIRST, SECOND) == services.Score(88.03, {"1e-3": 61.0, "1e-4": 69.0, "1e-5": 75.0})


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("InvalidImage.NotFoundFace", NO_FACE),
        ("InvalidAccessKeyId.NotFound", WRONG_KEY),
        ("SignatureDoesNotMatch", WRONG_KEY),
        ("Throttling.User", QUOTA),
        ("ServiceUnavailable", TIME_OUT),
        ("InvalidImage.Resolution", REFUSED),
    ],
)
def test_each_failure_of_aliyun_has_its_outcome(alibaba, code, outcome):
    errors, said = alibaba
    said.append(errors.TeaException({"code": code, "message": "a sentence", "data": {}}))
    assert outcome_of(adapters.aliyun) == (outcome, code)


def test_a_silent_aliyun_is_a_time_out(alibaba):
    errors, said = alibaba
    said.append(errors.TeaException({"code": None, "message": "Retry failed: read timed out", "data": None}))
    assert outcome_of(adapters.aliyun) == (TIME_OUT, "TeaException")


def test_the_clients_are_made_by_the_keys_of_the_environment(monkeypatch):
    """Of those SDKs that are installed; making a client sends nothing."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AZURE_FACE_ENDPOINT", "https://example.cognitiveservices.azure.com")
    modules = {"aliyun": "alibabacloud_facebody20191230", "azure": "azure.ai.vision.face", "rekognition": "boto3"}
    there = [name for name, module in modules.items() if importlib.util.find_spec(module.partition(".")[0])]
    if not there:
        pytest.skip("no SDK of the extra `services` is installed")
    for name in there:
        make = getattr(adapters, f"{name}_client")
        make.cache_clear()
        assert make() is make()
        make.cache_clear()


# ---------------------------------------------------------------- the notebook


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose notebook 4 has "protected" two drawn people, and a cache of its own."""
    manifest = datasets.limited(datasets.manifest_of("drawn"), 2)
    rows = manifest[(manifest["set"] == "drawn") & (manifest["split"] == "test")].pivot(
        index="person", columns="part", values="asset"
    )
    files = datasets.files(rows["source"])
    sources = [str(files[asset]) for asset in rows["source"]]
    report = pd.DataFrame({"person": rows.index, "source": sources, "other": rows["other"].tolist()})
    report = report.assign(protected=sources[::-1], mean_change=1.0, trained_against="drawn_ir", target="nobody")
    folder = tmp_path / "run"
    (folder / "protected" / "pgd").mkdir(parents=True)
    report.to_csv(folder / "protected" / "pgd" / "reports.csv", index=False)
    empty = {name: np.zeros((len(manifest), 0)) for name in ("images", "masks", "landmarks", "points")}
    facts = {"manifest": np.array(manifest.to_csv(index=False)), "drawings": datasets.drawn.folder().name}
    (tmp_path / "prepared").mkdir()
    np.savez(tmp_path / "prepared" / "drawn.npz", **facts, **empty)
    monkeypatch.setattr(paths, "PREPARED", tmp_path / "prepared")
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    return folder


def execute(run, **parameters) -> dict:
    notebook = read_notebook("08_commercial_services", paths.NOTEBOOKS)
    given = {"run_dir": str(run), "methods": ["pgd"], "names": ["facepp"], **parameters}
    fakes.execute_here(notebook, given, run / "08.ipynb", run / "08.log", "08_commercial_services")
    return json.loads((run / "values" / "08_commercial_services.json").read_text(encoding="utf-8"))


def test_the_notebook_sends_nothing_without_confirmation_even_with_keys(run, sockets, capsys):
    found = execute(run)
    assert sockets == [] and not (paths.CACHE / "services").exists()
    assert found == {"confirmed": False, "answered": 0, "estimated": {"facepp": 6}}
    told = capsys.readouterr().out
    assert "Nothing was sent" in told and "No service has answered" in told and "could not obtain" in told


def test_the_notebook_says_which_keys_are_missing(run, sockets, monkeypatch, capsys):
    for service in services.SERVICES.values():
        for key in service.keys:
            monkeypatch.delenv(key)
    execute(run, names=list(services.SERVICES), confirm=True)
    told = capsys.readouterr().out
    assert sockets == [] and "FACEPP_API_KEY" in told


def test_the_notebook_draws_what_a_confirmed_run_was_answered(run, played, slept):
    played.body = {"confidence": 70.0, "thresholds": RATES, "faces1": [BOX], "faces2": [BOX]}
    assert execute(run, confirm=True, prices={"facepp": 0.5}) == {
        "confirmed": True,
        "answered": 4,
        "estimated": {"facepp": 6},
    }
    assert len(played.forms) == 6 and (run / "figures" / "08_services.png").is_file()
    table = pd.read_csv(run / "tables" / "08_commercial_services.csv").set_index(["method", "metric"])
    assert table.loc[("pgd", "impersonation"), "value"] == 1 and table.loc[("pgd", "dodging"), "value"] == 0
    again = execute(run)
    assert again == {"confirmed": False, "answered": 4, "estimated": {"facepp": 0}} and len(played.forms) == 6
