package main

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/truefoundry-community/truefoundry_exporter/internal/docstest"
)

var update = flag.Bool("update", false, "rewrite the regions of documents")

func TestReadmeHasEveryFlag(t *testing.T) {
	app := kingpin.New(programName, "").Version("")
	addFlags(app)
	var b strings.Builder
	b.WriteString("| flag | default | meaning |\n|---|---|---|\n")
	for _, f := range app.Model().Flags {
		if f.Hidden {
			continue
		}
		value := ""
		if len(f.Default) > 0 && f.Default[0] != "" {
			value = "`" + f.Default[0] + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", f.Name, value, f.Help)
	}
	docstest.Region(t, "README.md", "flags", b.String(), *update)
}

func TestReadmeHasTheExampleFiles(t *testing.T) {
	for region, file := range map[string]string{
		"scrape":  "deploy/prometheus/prometheus.yml",
		"targets": "deploy/targets.yml",
	} {
		docstest.Region(t, "README.md", region, "```yaml\n"+read(t, file)+"```", *update)
	}
}
