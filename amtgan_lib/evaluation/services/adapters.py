"""Four services. What each is sent and answers follows its public documentation, linked at its function."""

from __future__ import annotations

import base64
import functools
import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import Any

from amtgan_lib.evaluation.services.answers import NO_FACE, QUOTA, TIME_OUT, WRONG_KEY, Failure, Score, Service

SECONDS = 30  # until a service counts as silent
RATES = ("1e-3", "1e-4", "1e-5")  # the false accept rates for which Face++ and Aliyun give thresholds
# Outcome -> how the codes begin that mean it; all others mean REFUSED. A key that may not compare faces is a wrong one.
FACEPP = {
    WRONG_KEY: ("AUTHENTICATION_ERROR", "AUTHORIZATION_ERROR:Denied"),
    QUOTA: ("CONCURRENCY_LIMIT_EXCEEDED", "AUTHORIZATION_ERROR:Insufficient"),
    TIME_OUT: ("INTERNAL_ERROR", "50"),
}
ALIYUN = {
    NO_FACE: ("InvalidImage.NotFoundFace",),
    WRONG_KEY: ("InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden", "InvalidApi"),
    QUOTA: ("Throttling",),
    TIME_OUT: ("InternalError", "ServiceUnavailable"),
}
# Status and code: https://learn.microsoft.com/azure/ai-services/computer-vision/reference-face-error-codes
AZURE = {
    WRONG_KEY: ("401", "403 UnsupportedFeature", "403 InvalidRequest"),
    QUOTA: ("429", "403"),
    TIME_OUT: ("408", "50"),
}
AMAZON = {
    NO_FACE: ("InvalidParameterException",),
    WRONG_KEY: ("UnrecognizedClient", "InvalidClientTokenId", "InvalidSignature", "ExpiredToken", "AccessDenied"),
    QUOTA: ("Throttling", "ProvisionedThroughputExceeded", "LimitExceeded"),
    TIME_OUT: ("InternalServerError", "ServiceUnavailable"),
}


def facepp(first: bytes, second: bytes) -> Score:
    """Face++ Compare, 0 to 100; thresholds come with each answer, since they may change.

    https://console.faceplusplus.com/documents/5679308; FACEPP_ADDRESS names another region's address.
    """
    form = {"api_key": os.environ["FACEPP_API_KEY"], "api_secret": os.environ["FACEPP_API_SECRET"]}
    answer = _posted(form | {"image_base64_1": _text(first), "image_base64_2": _text(second)})
    if [] in (answer.get("faces1"), answer.get("faces2")):
        raise Failure(NO_FACE)
    return Score(float(answer["confidence"]), {rate: float(answer["thresholds"][rate]) for rate in RATES})


def _posted(form: dict[str, str]) -> dict[str, Any]:
    address = os.environ.get("FACEPP_ADDRESS") or "https://api-us.faceplusplus.com/facepp/v3/compare"
    try:
        with urllib.request.urlopen(address, urllib.parse.urlencode(form).encode(), SECONDS) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise Failure.of(_error_message(error), FACEPP) from error
    except (OSError, http.client.HTTPException) as error:
        raise Failure(TIME_OUT, type(getattr(error, "reason", error)).__name__) from error


def _error_message(error: urllib.error.HTTPError) -> str:
    try:
        return json.load(error)["error_message"]
    except ValueError:  # what stands before the service answers in plain text
        return str(error.code)


def aliyun(first: bytes, second: bytes) -> Score:
    """Aliyun CompareFace, 0 to 100; thresholds come with each answer (61, 69 and 75 in the documentation).

    https://help.aliyun.com/document_detail/151891.html
    """
    from alibabacloud_facebody20191230.models import CompareFaceRequest
    from alibabacloud_tea_util.models import RuntimeOptions
    from Tea.exceptions import TeaException

    request = CompareFaceRequest(image_data_a=_text(first), image_data_b=_text(second))
    try:
        data = aliyun_client().compare_face_with_options(request, RuntimeOptions(autoretry=False)).body.data
    except TeaException as error:
        code = getattr(error, "code", None)  # without one nothing came back
        raise (Failure.of(code, ALIYUN) if code else Failure(TIME_OUT, type(error).__name__)) from error
    return Score(data.confidence, dict(zip(RATES, data.thresholds, strict=True)))


@functools.cache
def aliyun_client() -> Any:
    """The SDK's client, by the keys of the environment."""
    from alibabacloud_facebody20191230.client import Client
    from alibabacloud_tea_openapi.models import Config

    key, secret = (os.environ[name] for name in SERVICES["aliyun"].keys)
    limits = {"connect_timeout": 1000 * SECONDS, "read_timeout": 1000 * SECONDS}
    place = {"endpoint": "facebody.cn-shanghai.aliyuncs.com", "region_id": "cn-shanghai"}
    return Client(Config(access_key_id=key, access_key_secret=secret, **place, **limits))


def azure(first: bytes, second: bytes) -> Score:
    """Microsoft Face, 0 to 1: two faces are detected, then verified; the same person from 0.5 on.

    https://learn.microsoft.com/javascript/api/@azure-rest/ai-vision-face/verificationresultoutput
    Microsoft has to approve its use, and keeps features of the faces for two minutes.
    """
    from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

    client, found = azure_client(), []
    how = {"detection_model": "detection_03", "recognition_model": "recognition_04", "return_face_id": True}
    try:
        for picture in (first, second):
            faces = client.detect(picture, **how, face_id_time_to_live=120)
            if not faces:
                raise Failure(NO_FACE)
            found.append(faces[0].face_id)  # the largest is the first
        answer = client.verify_face_to_face(face_id1=found[0], face_id2=found[1])
    except HttpResponseError as error:
        raise Failure.of(f"{error.status_code} {getattr(error.error, 'code', '')}", AZURE) from error
    except (ServiceRequestError, ServiceResponseError) as error:
        raise Failure(TIME_OUT, type(error).__name__) from error
    return Score(answer.confidence, {"default": 0.5})


@functools.cache
def azure_client() -> Any:
    """The SDK's client, by the keys of the environment."""
    from azure.ai.vision.face import FaceClient
    from azure.core.credentials import AzureKeyCredential

    endpoint, key = (os.environ[name] for name in SERVICES["azure"].keys)
    limits = {"connection_timeout": SECONDS, "read_timeout": SECONDS, "retry_total": 0}
    return FaceClient(endpoint, AzureKeyCredential(key), **limits)


def rekognition(first: bytes, second: bytes) -> Score:
    """Amazon CompareFaces, 0 to 100; it matches from 80 on by default, which is advised for photo collections.

    https://docs.aws.amazon.com/rekognition/latest/dg/faces-comparefaces.html
    https://aws.amazon.com/rekognition/the-facts-on-facial-recognition-with-artificial-intelligence/ advises 99 where
    errors matter.
    """
    from botocore.exceptions import ClientError, HTTPClientError

    pictures = {"SourceImage": {"Bytes": first}, "TargetImage": {"Bytes": second}}
    try:
        matches = rekognition_client().compare_faces(**pictures, SimilarityThreshold=0)["FaceMatches"]
    except ClientError as error:
        raise Failure.of(error.response["Error"]["Code"], AMAZON) from error
    except HTTPClientError as error:
        raise Failure(TIME_OUT, type(error).__name__) from error
    if not matches:  # from a threshold of 0 on every face matches
        raise Failure(NO_FACE)
    return Score(max(match["Similarity"] for match in matches), {"default": 80.0})


@functools.cache
def rekognition_client() -> Any:
    """The SDK's client, by the keys of the environment; the user's files of keys are not read."""
    import boto3
    from botocore.config import Config

    key, secret, region = (os.environ[name] for name in SERVICES["rekognition"].keys)
    config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": region}
    return boto3.client("rekognition", config=config, **keys)


def _text(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


AZURE_KEYS = ("AZURE_FACE_ENDPOINT", "AZURE_FACE_KEY")
ALIBABA_KEYS = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET")
AMAZON_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
SERVICES = {
    service.name: service
    for service in (
        Service("facepp", facepp, ("FACEPP_API_KEY", "FACEPP_API_SECRET"), "", per_minute=60),
        Service("aliyun", aliyun, ALIBABA_KEYS, "alibabacloud-facebody20191230", per_minute=60),
        Service("azure", azure, AZURE_KEYS, "azure-ai-vision-face", per_minute=60, transactions=3),
        Service("rekognition", rekognition, AMAZON_KEYS, "boto3", per_minute=60),
    )
}


def named(names: Iterable[str]) -> list[Service]:
    """The services of these names, or ValueError naming those that exist."""
    names = list(names)
    if unknown := [name for name in names if name not in SERVICES]:
        raise ValueError(f"there is no service {unknown[0]!r}; there are {', '.join(SERVICES)}")
    return [SERVICES[name] for name in names]
