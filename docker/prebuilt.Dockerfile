# The image of Leveret, of static binaries that are there already; docker/prebuilt makes what it needs
# around itself and calls it:
#
#   docker/prebuilt target/x86_64-unknown-linux-gnu/release

FROM scratch
COPY root/ /
COPY --chown=10001:10001 data/ /var/lib/leveret/

# From here on the same as in Dockerfile.
ENV PATH=/usr/local/bin \
    LEVERET_DATA_DIR=/var/lib/leveret \
    # Other containers are not this machine: without this nobody could log in as guest.
    LEVERET_LOOPBACK_USERS=none
# A leveret.toml that is mounted here is read.
WORKDIR /etc/leveret
USER 10001:10001
VOLUME /var/lib/leveret
# AMQP, AMQP over TLS, HTTP API, other nodes
EXPOSE 5672 5671 15672 25672 25672/udp
# Whether the node runs; whether it should get clients is check_ready_to_serve_clients (docs/docker.md).
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["leveretctl", "-q", "-t", "4", "check_running"]
ENTRYPOINT ["leveret"]
