module github.com/truefoundry-community/truefoundry_exporter/internal/e2e

go 1.26.0

replace github.com/truefoundry-community/truefoundry_exporter => ../..

require github.com/truefoundry-community/truefoundry_exporter v0.0.0
