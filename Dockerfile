FROM golang:1.26-bookworm AS build
WORKDIR /src

# This layer only changes when a dependency does.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
# Optional build information for the binary. Without git, make does not know it.
ARG REVISION
ARG BRANCH
ARG BUILD_USER
ARG SOURCE_DATE_EPOCH
RUN make build BINARY=/truefoundry_exporter

# The image of a release is made by internal/test/integration/release/image, from the binaries
# of the release. .ci/dockerfile compares the two images.
FROM scratch
LABEL org.opencontainers.image.title="truefoundry_exporter" \
      org.opencontainers.image.description="Prometheus exporter for the expiry of TrueFoundry personal access tokens and virtual accounts" \
      org.opencontainers.image.source="https://github.com/truefoundry-community/truefoundry_exporter" \
      org.opencontainers.image.licenses="Apache-2.0"

# To verify the certificates of control planes.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /truefoundry_exporter /bin/truefoundry_exporter

# The user nobody, as a number, because runAsNonRoot does not accept a name.
USER 65534:65534
EXPOSE 10140
ENTRYPOINT ["/bin/truefoundry_exporter"]
