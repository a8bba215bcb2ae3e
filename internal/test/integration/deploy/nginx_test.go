package deploy

import (
	"context"
	"fmt"
	"html"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// nginxConfig is the configuration of nginx without its servers. All paths are relative.
const nginxConfig = `
user root; # only used if root starts nginx: the directory belongs to root then
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr notice;
events {}
http {
	log_format request "request $request_method $status";
	access_log /dev/stdout request;
	client_body_temp_path temp;
	proxy_temp_path temp;
	fastcgi_temp_path temp;
	uwsgi_temp_path temp;
	scgi_temp_path temp;
	absolute_redirect off;
	%s
}
`

// The landing page works behind nginx with the configuration in docs/configuration.md, and
// below a deeper path.
func TestLandingPageBehindNginx(t *testing.T) {
	exporterURL := "http://" + start(t, exporterListens, command(t, exporter, "--demo", "--web.listen-address=127.0.0.1:0")).ready[1]
	documented := regexp.MustCompile("(?s)```nginx\n(location (\\S+) .*?)```").FindStringSubmatch(read(t, "../docs/configuration.md"))
	if documented == nil {
		t.Fatal("docs/configuration.md has no configuration of nginx")
	}
	location := strings.Replace(documented[1], "http://127.0.0.1:10140", exporterURL, 1)
	prefix := documented[2]
	for name, test := range map[string]struct{ location, prefix string }{
		"as documented":       {location, prefix},
		"below a deeper path": {strings.Replace(location, prefix, "/monitoring/eu"+prefix, 1), "/monitoring/eu" + prefix},
	} {
		t.Run(name, func(t *testing.T) {
			client := startNginx(t, test.location)
			page := send(t, client, http.MethodGet, "http://nginx"+strings.TrimSuffix(test.prefix, "/"), nil)
			if page.status != http.StatusOK || page.url.Path != test.prefix {
				t.Fatalf("%s: %d\n%s", page.url, page.status, page.body)
			}
			var paths []string
			for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page.body, -1) {
				to, err := page.url.Parse(html.UnescapeString(link[1]))
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasSuffix(to.Path, "/docs/troubleshooting.md") {
					continue // on GitHub; the link appears after the first failure
				}
				paths = append(paths, strings.TrimPrefix(to.Path, test.prefix))
				if r := send(t, client, http.MethodGet, to.String(), nil); r.status != http.StatusOK || strings.Contains(r.body, "<html") {
					t.Errorf("%s leads to %s: %d\n%.300s", link[1], to, r.status, r.body)
				}
			}
			// Until the first scrape, the text links to the metrics, too.
			if want := []string{"metrics", "-/healthy", "-/ready"}; !slices.Equal(paths, want) && !slices.Equal(paths, append(want, "metrics")) {
				t.Errorf("the links lead to %q, want %q", paths, want)
			}
		})
	}
}

// startNginx starts nginx with a location, and returns a client that sends all requests to
// it.
func startNginx(t *testing.T, location string) *http.Client {
	t.Helper()
	dir := t.TempDir()
	// A Unix socket needs no free port.
	socket := filepath.Join(dir, "nginx.sock")
	runNginx(t, dir, "server { listen unix:"+socket+"; "+location+" }")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// runNginx starts nginx with these servers and its files in dir.
func runNginx(t *testing.T, dir, servers string) *process {
	t.Helper()
	config := filepath.Join(dir, "nginx.conf")
	write(t, config, fmt.Sprintf(nginxConfig, servers))
	return start(t, regexp.MustCompile(`start worker process \d+`), command(t, "nginx", "-p", dir, "-e", "stderr", "-c", config))
}
