"""How each gateway is started: its shipped configuration, with the addresses of this run."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from client import message, once, showing
from programs import Process, free_port, listens, wait_until
from world import HERE

# Where pip put what it installed.
BIN = Path(sys.executable).parent

# Its log is written at once; several may run beside each other.
ENVOY = ["--disable-hot-restart", "--file-flush-interval-msec", "100"]

# By its name in the table: its folder, the command in a copy of it.
GATEWAYS = {
    "nginx": ("nginx", ["nginx", "-p", ".", "-c", "nginx.conf"]),
    "Caddy": ("caddy", ["caddy", "run", "--config", "Caddyfile"]),
    "HAProxy": ("haproxy", ["haproxy", "-db", "-f", "haproxy.cfg"]),
    "Apache": ("apache", ["apache2", "-DFOREGROUND", "-f", "{folder}/apache.conf"]),
    "Traefik": ("traefik", [str(BIN / "traefik"), "--configFile=traefik.yaml"]),
    "Envoy HTTP": ("envoy", [str(BIN / "envoy"), *ENVOY, "-c", "http.yaml"]),
    "Envoy gRPC": ("envoy", [str(BIN / "envoy"), *ENVOY, "-c", "grpc.yaml"]),
}


def is_installed(name):
    """Whether its program is there."""
    return shutil.which(GATEWAYS[name][1][0]) is not None


class Gateway:
    """One of them, before the shop. A name of its own for its key, as in `[gateway.callers]`."""

    def __init__(self, world, name):
        self.name = name
        folder, self.command = GATEWAYS[name]
        self.key_name = name.lower().replace(" ", "-")
        self.world = world
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"portreeve-{folder}-"))
        self.copy()
        # nginx's workers give up root, and have to find it.
        self.folder.chmod(0o755)
        self.process = None

    def copy(self):
        """The shipped files, with what an operator would change, and nothing else."""
        world = self.world
        self.is_secure = False
        addresses = {
            "127.0.0.1:8080": f"127.0.0.1:{self.port}",
            "127.0.0.1:8181": f"127.0.0.1:{world.port}",
            "127.0.0.1:3000": f"127.0.0.1:{world.app_port}",
            "port_value: 8080": f"port_value: {self.port}",
            "port_value: 8181": f"port_value: {world.port}",
            "port_value: 8182": f"port_value: {world.grpc_port}",
            "port_value: 3000": f"port_value: {world.app_port}",
            "shop.example:8080": f"shop.example:{self.port}",
            "http://:8080": f"http://:{self.port}",
            "abns@portreeve": f"abns@portreeve-{self.port}",
        }
        shipped = HERE / GATEWAYS[self.name][0]
        for source in shipped.rglob("*"):
            if source.is_file():
                text = source.read_text()
                for address, ours in addresses.items():
                    text = text.replace(address, ours)
                target = self.folder / source.relative_to(shipped)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)

    def secure(self):
        """TLS, asking clients for certificates: as the comments of the configurations say."""
        own = HERE.parent / "certificates"
        self.is_secure = True
        for path in self.folder.glob("*.yaml"):
            text = path.read_text()
            files = f"{{ certificate_chain: {{ filename: {own}/https.pem }}, private_key: {{ filename: {own}/https.key }} }}"
            tls = f"""- transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                tls_certificates: [{files}]
                validation_context: {{ trusted_ca: {{ filename: {own}/root.pem }} }}
          filters:"""
            path.write_text(text.replace("- filters:", tls))
        path = self.folder / "Caddyfile"
        if path.exists():
            text = path.read_text()
            tls = (
                f"tls {own}/https.pem {own}/https.key {{\n client_auth {{\n mode verify_if_given\n"
                f" trusted_ca_cert_file {own}/root.pem\n }}\n}}\n"
            )
            site = f"http://shop.example:{self.port} {{\n"
            path.write_text(text.replace(site, "https" + site[4:] + tls).replace("http://:", "https://:"))
        path = self.folder / "apache.conf"
        if path.exists():
            text = path.read_text()
            text = text.replace("LoadModule lua", "LoadModule ssl_module ${modules}/mod_ssl.so\nLoadModule lua")
            tls = (
                f"    SSLEngine on\n    SSLCertificateFile {own}/https.pem\n"
                f"    SSLCertificateKeyFile {own}/https.key\n    SSLCACertificateFile {own}/root.pem\n"
                "    SSLVerifyClient optional\n    SSLVerifyDepth 3\n    ServerName "
            )
            path.write_text(text.replace("    ServerName ", tls))
        path = self.folder / "haproxy.cfg"
        if path.exists():
            pem = self.folder / "https.pem"
            pem.write_text((own / "https.pem").read_text() + (own / "https.key").read_text())
            text = path.read_text()
            bind = f"bind 127.0.0.1:{self.port}"
            tls = f"{bind} ssl crt {pem} ca-file {own}/root.pem verify optional"
            path.write_text(text.replace(bind, tls))

    def break_scripts(self):
        """Its own script ends with an error before it has asked."""
        for script in self.folder.rglob("*.lua"):
            text = script.read_text()
            for begin in ('core.register_action("portreeve", { "http-req" }, function(txn)', "function ask(r)"):
                text = text.replace(begin + "\n", begin + '\n    error("broken")\n')
            script.write_text(text)

    def start(self, key):
        """With the engine's key, as the comments of the configurations say."""
        key_file = self.folder / "portreeve" / "key.conf"
        if key_file.parent.is_dir():
            key_file.write_text(f'proxy_set_header Portreeve-Key "{key}";\n')
            key_file.chmod(0o600)
        env = {
            "PORTREEVE_KEY": key,
            "PORTREEVE_HOST": "127.0.0.1",
            "PORTREEVE_PORT": str(self.world.port),
            "GATEWAY_FOLDER": str(self.folder),
            "XDG_DATA_HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder),
        }
        command = [word.replace("{folder}", str(self.folder)) for word in self.command]
        self.process = Process("gateway", command, self.folder, env)
        self.process.wait_for(self.port)
        # Traefik listens before it has its routes.
        wait_until(f"{self.name} knows the shop", self.serves)

    def serves(self):
        """Whether the shop's host is known: whatever the answer is."""
        try:
            tls = showing([]) if self.is_secure else None
            answer = asyncio.run(once(self.port, message("GET", "/", "shop.example", []), tls=tls))
        except OSError:
            return False
        return answer.status not in (0, 404)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process = None
            # Its children end a moment later.
            wait_until(f"{self.name} has ended", lambda: not listens(self.port))

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
