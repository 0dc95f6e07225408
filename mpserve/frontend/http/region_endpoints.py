"""Endpoints of the shared-memory extensions. Source: triton.md 3.10."""

from functools import partial

from mpserve.codec import region_json
from mpserve.dialect import Dialect, Operation
from mpserve.dispatch.regions import Regions
from mpserve.errors import Failure, InvalidRequest
from mpserve.frontend.handlers import cuda_memory
from mpserve.frontend.handlers.repository import RepositoryCalls, RepositoryResult
from mpserve.frontend.http import responses
from mpserve.frontend.http.body import HttpRequest
from mpserve.frontend.http.responses import Exchange, HttpResponse
from mpserve.frontend.http.routes import Match


class RegionEndpoints:
    """Tells what this frontend knows; changes are the supervisor's."""

    def __init__(self, *, dialect: Dialect, regions: Regions, calls: RepositoryCalls) -> None:
        self._dialect = dialect
        self._regions = regions
        self._calls = calls

    def status(self, _: Exchange, __: HttpRequest, match: Match) -> HttpResponse:
        """Answer with one registration, or with all."""
        found = self._regions.status(match.region)
        return responses.json_response(region_json.status_body(found))

    def register(self, exchange: Exchange, http: HttpRequest, match: Match) -> None:
        """Register memory; answered when every frontend knows it."""
        self._regions.check_allowed()
        _check_named(match, "system")
        claim = region_json.read_claim(http.body())
        self._calls.register_region(
            partial(self._send_result, exchange),
            name=match.region,
            key=claim.key,
            offset=claim.offset,
            byte_size=claim.byte_size,
        )

    def unregister(self, exchange: Exchange, _: HttpRequest, match: Match) -> None:
        """Forget one registration, or all."""
        self._regions.check_allowed()
        self._calls.unregister_regions(partial(self._send_result, exchange), name=match.region)

    def cuda_status(self, _: Exchange, __: HttpRequest, match: Match) -> HttpResponse:
        """Answer that there is none."""
        cuda_memory.check_status(match.region)
        return responses.json_response(region_json.status_body(()))

    def cuda_register(self, _: Exchange, http: HttpRequest, match: Match) -> HttpResponse:
        """Refuse."""
        self._regions.check_allowed()
        _check_named(match, "cuda")
        region_json.check_cuda_claim(http.body())
        raise cuda_memory.refuse(match.region)

    def cuda_unregister(self, *_: object) -> HttpResponse:
        """Do nothing: none is registered."""
        self._regions.check_allowed()
        return self._done()

    def _send_result(self, exchange: Exchange, result: RepositoryResult) -> None:
        if isinstance(result, Failure):
            response = responses.failure_response(
                result, dialect=self._dialect, operation=Operation.SHARED_MEMORY
            )
        else:
            response = self._done()
        responses.send(exchange, response)

    def _done(self) -> HttpResponse:
        return HttpResponse(status=200, content_type=self._dialect.done_content_type)


def _check_named(match: Match, kind: str) -> None:
    if not match.region:
        raise InvalidRequest(f"'region name' is necessary to register {kind} shared memory region")
