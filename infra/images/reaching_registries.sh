#!/usr/bin/env bash
# Runs a command of a build with what this builder needs to reach package registries. All of it comes as build secrets,
# all of it may be absent or empty: then nothing is set, and the clients use what they know.
set -euo pipefail
given() { [ -s "/run/secrets/$1" ]; }

if given ca_bundle; then
    export SSL_CERT_FILE=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle
fi
if given pip_conf; then export PIP_CONFIG_FILE=/run/secrets/pip_conf; fi
if given uv_toml; then export UV_CONFIG_FILE=/run/secrets/uv_toml; fi
if given ivy_settings; then export MILLRACE_IVY_SETTINGS=/run/secrets/ivy_settings; fi
if given java_truststore; then
    export JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=/run/secrets/java_truststore
fi
exec "$@"
