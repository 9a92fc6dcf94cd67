# The driver's image. `make image` builds the same without docker.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=v0.1.0
# The runtime names namespaces below /var/run, which is /run on every node.
RUN mkdir -p /root-of-image/var && ln -s /run /root-of-image/var/run && \
    CGO_ENABLED=0 go build -trimpath -tags=grpcnotrace -ldflags="-s -w -X k8s.io/component-base/version.gitVersion=${VERSION} -X main.version=${VERSION}" -o /root-of-image/ ./cmd/...

FROM scratch
COPY --from=build /root-of-image/ /
ENTRYPOINT ["/dra-netdev-kubeletplugin"]
