"""Passes QGIS's proxy on to the engine, so that downloads go the way of QGIS's own requests."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from qgis.core import QgsApplication, QgsAuthMethodConfig, QgsSettings

_LOCAL = ("localhost", "127.0.0.1", "::1")


def variables() -> dict[str, str]:
    """Return QGIS's proxy as variables of a process environment.

    Empty where QGIS is told to use none or the system's. A SOCKS proxy can't be passed on this way.
    """
    settings = QgsSettings()
    host = str(settings.value("proxy/proxyHost", "") or "").strip()
    kind = settings.value("proxy/proxyType", "")
    if not (settings.value("proxy/proxyEnabled", False, type=bool) and host):
        return {}
    if kind not in ("HttpProxy", "HttpCachingProxy"):
        return {}
    user, password = _credentials(settings)
    address = f"[{host}]" if ":" in host else host
    if port := str(settings.value("proxy/proxyPort", "") or "").strip():
        address += f":{port}"
    if user:
        address = f"{quote(user, safe='')}:{quote(password, safe='')}@{address}"
    wanted = {"http_proxy": f"http://{address}", "https_proxy": f"http://{address}"}
    wanted["no_proxy"] = ",".join([*_LOCAL, *_excluded(settings)])
    return wanted


def with_proxy(environ: dict[str, str], wanted: dict[str, str]) -> dict[str, str]:
    """Replace the proxy of a process environment by QGIS's, where QGIS has one.

    Parameters
    ----------
    environ : dict of str
        The environment.
    wanted : dict of str
        QGIS's proxy, as :func:`variables` gives it.
    """
    # Windows knows no upper and lower case here, so the same name in the other case has to go.
    return {name: value for name, value in environ.items() if name.lower() not in wanted} | wanted


def _credentials(settings: QgsSettings) -> tuple[str, str]:
    """Return user and password.

    Those of QGIS's password store only where it is open: nobody can be asked for its password here.
    """
    manager, config_id = QgsApplication.authManager(), str(settings.value("proxy/authcfg", "") or "")
    if config_id and manager.masterPasswordIsSet():
        config = QgsAuthMethodConfig()
        found, config = manager.loadAuthenticationConfig(config_id, config, True)
        if found and config.config("username"):
            return config.config("username"), config.config("password")
    return tuple(str(settings.value(f"proxy/proxy{key}", "") or "") for key in ("User", "Password"))


def _excluded(settings: QgsSettings) -> list[str]:
    """List the hosts that QGIS reaches without the proxy."""
    hosts = []
    for key in ("proxyExcludedUrls", "noProxyUrls"):
        for address in settings.value(f"proxy/{key}", [], type=list) or []:
            address = str(address).strip()
            host = urlsplit(address if "//" in address else f"//{address}").hostname
            if host and host not in hosts:
                hosts.append(host)
    return hosts
