"""The consensus as a service: composed without tables or adapters of its own."""

from pathlib import Path

from grace_common.runtime.settings import Settings
from grace_common.testing import certificates
from grace_consensus.main import build
from pydantic import SecretStr


def test_the_service_is_composed_of_its_router_alone(tmp_path: Path) -> None:
    certificates.write(certificates.Authority().issue("service/consensus"), tmp_path)
    settings = Settings(
        service="consensus",
        kafka_bootstrap="127.0.0.1:9",
        database_url=SecretStr("postgresql://nobody:nothing@127.0.0.1:9/grace"),
        identity_dir=tmp_path,
        state_dir=tmp_path,
        publication_dir=tmp_path,
        schemas_dir=tmp_path,
        http_port=0,
    )

    service = build(settings)

    assert [router.group_id for router in service.routers] == ["consensus"]
    assert service.migrations() is None
    assert not service.background
