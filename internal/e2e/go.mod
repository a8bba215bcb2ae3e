module github.com/truefoundry-community/truefoundry_exporter/internal/e2e

go 1.26.0
