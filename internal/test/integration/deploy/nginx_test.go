package deploy

import (
	"bufio"
	"context"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start starts a program and reads its log until a line matches. It returns what
// the pattern's groups matched; the program ends with the test.
func start(t *testing.T, line *regexp.Regexp, path string, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // nginx ends its workers then
	cmd.WaitDelay = 10 * time.Second
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	t.Cleanup(func() { // after t.Context is done
		<-read
		_ = cmd.Wait() // it was told to end
	})
	found := make(chan []string, 1)
	var log strings.Builder
	go func() {
		defer close(read)
		defer close(found)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			log.WriteString(lines.Text() + "\n")
			if match := line.FindStringSubmatch(lines.Text()); match != nil {
				found <- match
				_, _ = io.Copy(io.Discard, stderr)
				return
			}
		}
	}()
	match, ok := <-found
	if !ok {
		t.Fatalf("%s ended before it listened:\n%s", filepath.Base(path), &log)
	}
	return match
}

// nginxConfig has everything below one folder, and listens on a socket in it, so
// that there is no port that somebody else could have.
const nginxConfig = `
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr notice;
events {}
http {
	access_log off;
	client_body_temp_path temp;
	proxy_temp_path temp;
	fastcgi_temp_path temp;
	uwsgi_temp_path temp;
	scgi_temp_path temp;
	absolute_redirect off;
	server {
		listen unix:nginx.sock;
		%s
	}
}
`

// The landing page works behind nginx as docs/configuration.md configures it, and below a
// deeper path as well.
func TestLandingPageBehindNginx(t *testing.T) {
	exporterURL := "http://" + start(t, regexp.MustCompile(`msg="Listening on" address=(\S+)`),
		exporter, "--demo", "--web.listen-address=127.0.0.1:0")[1]
	documented := regexp.MustCompile("(?s)```nginx\n(location (\\S+) .*?)```").FindStringSubmatch(read(t, "../docs/configuration.md"))
	if documented == nil {
		t.Fatal("docs/configuration.md does not configure nginx")
	}
	location := strings.Replace(documented[1], "http://127.0.0.1:10140", exporterURL, 1)
	prefix := documented[2]
	for name, test := range map[string]struct{ location, prefix string }{
		"as documented":       {location, prefix},
		"below a deeper path": {strings.Replace(location, prefix, "/monitoring/eu"+prefix, 1), "/monitoring/eu" + prefix},
	} {
		t.Run(name, func(t *testing.T) {
			client := startNginx(t, test.location)
			status, page, at := get(t, client, "http://nginx"+strings.TrimSuffix(test.prefix, "/"))
			if status != http.StatusOK || at.Path != test.prefix {
				t.Fatalf("%s: %d\n%s", at, status, page)
			}
			var paths []string
			for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
				to, err := at.Parse(html.UnescapeString(link[1]))
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasSuffix(to.Path, "/docs/troubleshooting.md") {
					continue // on GitHub; the page has it once a target has failed
				}
				paths = append(paths, strings.TrimPrefix(to.Path, test.prefix))
				if status, body, _ := get(t, client, to.String()); status != http.StatusOK || strings.Contains(body, "<html") {
					t.Errorf("%s leads to %s: %d\n%.300s", link[1], to, status, body)
				}
			}
			// The last stands in the text, until something has been scraped.
			if want := []string{"metrics", "-/healthy", "-/ready"}; !slices.Equal(paths, want) && !slices.Equal(paths, append(want, "metrics")) {
				t.Errorf("the links lead to %q, want %q", paths, want)
			}
		})
	}
}

// startNginx starts an nginx with a location, and returns a client that reaches
// nothing else.
func startNginx(t *testing.T, location string) *http.Client {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	socket := filepath.Join(dir, "nginx.sock")
	write(t, config, strings.Replace(fmt.Sprintf(nginxConfig, location), "unix:nginx.sock", "unix:"+socket, 1))
	start(t, regexp.MustCompile(`start worker process \d+`), "nginx", "-p", dir, "-e", "stderr", "-c", config)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// get returns an answer, and the URL that redirects have led to.
func get(t *testing.T, client *http.Client, from string) (status int, body string, at *url.URL) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, from, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Request.URL
}
