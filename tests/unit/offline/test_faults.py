"""Faults by header, and laid ready."""

import msgspec
import pytest

from gateway.offline.faults import NO_FAULT, Fault, FaultBook, Laid, fault_from_headers


def test_headers_say_what_goes_wrong() -> None:
    headers = {"x-offline-status": "503", "x-offline-delay-ms": "20", "x-offline-hang": "true", "host": "x"}
    assert fault_from_headers(headers) == Fault(status=503, delay_ms=20, hang=True)
    assert fault_from_headers({"host": "x"}) == NO_FAULT


@pytest.mark.parametrize("header", ["x-offline-sttus", "x-offline-status"])
def test_a_misspelt_header_is_refused(header: str) -> None:
    """A rehearsal that does not happen would pass for a system that survived it."""
    with pytest.raises(msgspec.ValidationError):
        fault_from_headers({header: "200"})


def test_a_laid_fault_is_used_up_and_fits_only_its_model_and_path() -> None:
    book = FaultBook()
    book.lay(Laid(fault=Fault(status=500), model="m", times=2))
    book.lay(Laid(fault=Fault(drop=True), path="/v1/files"))
    assert [book.take(model, "/v1/x").status for model in ("other", "m", "m", "m")] == [None, 500, 500, None]
    assert book.take("m", "/v1/files").drop
    assert book.take("m", "/v1/files").drop
    book.reset()
    assert book.take("m", "/v1/files") == NO_FAULT
