# One static binary and the certificates it needs to trust a Control Plane; nothing else to patch. Build them first:
#
#   RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs' cargo build --release --locked --target x86_64-unknown-linux-gnu
#   install -D -m 0644 /etc/ssl/certs/ca-certificates.crt target/image/ca-certificates.crt
#   docker build -t plimsoll:local .
FROM scratch
# The demo writes a file; a folder is made by being worked in.
WORKDIR /tmp
WORKDIR /
COPY target/image/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY target/x86_64-unknown-linux-gnu/release/plimsoll /plimsoll
# As in packaging/plimsoll.service, which says why.
ENV MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_ARENA_MAX=1
VOLUME /var/lib/plimsoll
EXPOSE 9469
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["/plimsoll", "healthcheck", "--config", "/etc/plimsoll/plimsoll.yaml"]
ENTRYPOINT ["/plimsoll"]
CMD ["run", "--config", "/etc/plimsoll/plimsoll.yaml"]
