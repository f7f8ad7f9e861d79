"""QGIS's proxy as the engine gets it."""

from __future__ import annotations

import pytest


def test_none_is_set(qgis_app, proxied):
    from exemplar.ui.engine.proxy import variables, with_proxy

    environ = {"HTTPS_PROXY": "http://own:1"}
    assert with_proxy(environ, variables()) == environ
    assert proxied(environ) == environ  # no host
    assert proxied(environ, proxyHost="proxy", proxyType="DefaultProxy") == environ  # the system's
    assert proxied(environ, proxyHost="proxy", proxyType="Socks5Proxy") == environ
    assert proxied(environ, proxyHost="proxy", proxyType="HttpProxy", proxyEnabled=False) == environ


def test_it_goes_to_the_engine_in_place_of_the_environments(proxied):
    given = {"PATH": "/bin", "HTTPS_PROXY": "http://own:1", "no_proxy": "own"}
    told = proxied(given, proxyHost="proxy.example.org", proxyPort="3128")
    assert told == {
        "PATH": "/bin",
        "http_proxy": "http://proxy.example.org:3128",
        "https_proxy": "http://proxy.example.org:3128",
        "no_proxy": "localhost,127.0.0.1,::1",
    }


def test_names_passwords_and_exceptions(proxied):
    told = proxied(
        proxyHost="proxy",
        proxyPort="80",
        proxyUser="ann@example.org",
        proxyPassword="p:w/d",
        proxyExcludedUrls=["https://intranet.example.org/maps", "tiles"],
        noProxyUrls=["tiles"],
    )
    assert told["https_proxy"] == "http://ann%40example.org:p%3Aw%2Fd@proxy:80"
    assert told["no_proxy"].endswith(",intranet.example.org,tiles")


@pytest.mark.parametrize("is_open", [True, False])
def test_the_password_store_is_asked_only_where_it_is_open(proxied, monkeypatch, is_open):
    from exemplar.ui.engine import proxy
    from qgis.core import QgsAuthMethodConfig

    class Manager:  # the real one would open the tester's own store
        def masterPasswordIsSet(self):  # noqa: N802
            return is_open

        def loadAuthenticationConfig(self, config_id, config, full):  # noqa: N802
            assert is_open and config_id == "abc1234" and full
            config = QgsAuthMethodConfig("Basic")
            config.setConfig("username", "ann")
            config.setConfig("password", "secret")
            return True, config

    monkeypatch.setattr(proxy.QgsApplication, "authManager", Manager)
    told = proxied(proxyHost="proxy", proxyPort="80", authcfg="abc1234")
    assert told["https_proxy"] == ("http://ann:secret@proxy:80" if is_open else "http://proxy:80")
