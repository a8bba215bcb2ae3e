FROM golang:1.26-bookworm AS build
WORKDIR /src

# A layer of its own: it changes only when a dependency does.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
# Optional: the release's own values. VERSION is read from the file by default.
ARG VERSION=""
ARG REVISION=""
ARG BRANCH=""
ARG BUILD_USER=""
ARG BUILD_DATE=""
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /truefoundry_exporter -ldflags "\
    -X github.com/prometheus/common/version.Version=${VERSION:-$(cat VERSION)} \
    -X github.com/prometheus/common/version.Revision=${REVISION} \
    -X github.com/prometheus/common/version.Branch=${BRANCH} \
    -X github.com/prometheus/common/version.BuildUser=${BUILD_USER} \
    -X github.com/prometheus/common/version.BuildDate=${BUILD_DATE}" .

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
