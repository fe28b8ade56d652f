# A static binary, the CA roots and nothing else.
#
#   docker build -t vega-proxy --build-arg VERSION=$(git describe --always) .
#
# It listens on loopback: run it in the network namespace of the application (the
# same pod, or --network container:NAME), and no port needs to be published. To be
# reached from other containers it needs VEGA_LISTEN=0.0.0.0:8080. The root may be
# read-only; all it writes is below /data.
#
# `make release` builds the same image without an engine, byte for byte the same
# each time.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH
ARG VERSION=dev
# Without debugging tables (-s -w): a third less, and profiles and stacks have
# their names all the same.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
      go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/vega-proxy ./cmd/vega-proxy \
    && mkdir -m 0700 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/vega-proxy /vega-proxy
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
# The spool and the embedded database: without a volume they end with the container.
VOLUME /data
ENV VEGA_DATA_DIR=/data
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/vega-proxy", "healthcheck"]
ENTRYPOINT ["/vega-proxy"]
CMD ["serve"]
