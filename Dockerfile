FROM golang:1.26-bookworm AS build
WORKDIR /src

# A layer of its own: it changes only when a dependency does.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
# Optional: what the binary says of its build. Without git, make does not know them.
ARG REVISION
ARG BRANCH
ARG BUILD_USER
ARG SOURCE_DATE_EPOCH
RUN make build BINARY=/truefoundry_exporter

# The image of a release is made by internal/test/integration/release/image, of binaries that are
# built once; .ci/dockerfile compares the two.
FROM scratch
LABEL org.opencontainers.image.title="truefoundry_exporter" \
      org.opencontainers.image.description="Prometheus exporter for the expiry of TrueFoundry personal access tokens and virtual accounts" \
      org.opencontainers.image.source="https://github.com/truefoundry-community/truefoundry_exporter" \
      org.opencontainers.image.licenses="Apache-2.0"

# Without them no control plane's certificate could be verified.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /truefoundry_exporter /bin/truefoundry_exporter

# nobody, as a number: runAsNonRoot cannot judge a name.
USER 65534:65534
EXPOSE 10140
ENTRYPOINT ["/bin/truefoundry_exporter"]
