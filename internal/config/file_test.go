package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	commoncfg "github.com/prometheus/common/config"
)

// canary is part of values, none of which may appear in an error.
const canary = "s3cret"

// valid returns a file with a valid target, to which it adds fields from line 5 on.
func valid(fields ...string) string {
	return "targets:\n- name: a\n  url: https://a.example\n  " + strings.Join(append([]string{"authorization: {credentials_file: key}"}, fields...), "\n  ") + "\n"
}

// withoutKey returns a file with a target that has no API key but the given fields,
// from line 4 on.
func withoutKey(fields ...string) string {
	return "targets:\n- name: a\n  url: https://a.example\n  " + strings.Join(fields, "\n  ") + "\n"
}

// withURL returns a file with a target that has the given URL.
func withURL(url string) string {
	return "targets:\n- name: a\n  url: " + url + "\n  authorization: {credentials_file: key}\n"
}

const looksLike = "it should look like https://example.truefoundry.cloud"

// invalidFiles are files that are rejected, with the error.
var invalidFiles = []struct{ name, text, want string }{
	// The file as a whole.
	{"empty", "", "it is empty: list the targets under targets"},
	{"only comments", "# targets:\n# - s3cret\n", "it is empty: list the targets under targets"},
	{"only a document start", "---\n", "it has no targets: list them under targets"},
	{"several documents", valid() + "---\n" + valid(), "it has several documents: put all targets into one"},
	{"an empty second document", valid() + "---\n", "it has several documents: put all targets into one"},
	{"a key instead of YAML", "s3cret\n", "line 1: the file: must have fields, and not one value"},
	{"a list", "- s3cret\n", "line 1: the file: must not be a list"},
	{"a flow that does not end", "targets: [{name: s3cret\n", "line 2: it is not YAML: did not find expected ',' or '}'"},
	{"a quote that does not end", "targets: \"s3cret\n", "line 2: it is not YAML: found unexpected end of stream"},
	{"a line in the wrong column", "targets:\n- name: a\n s3cret\n", "line 3: it is not YAML: did not find expected key"},
	{"a tab as indentation", "targets:\n\t- name: s3cret\n", "line 2: it is not YAML: found character that cannot start any token"},
	{"invalid UTF-8", "targets: \xff\xfe s3cret", "it is not YAML: invalid leading UTF-8 octet (value: 255)"},
	{"a control character", "targets: \x01s3cret", "it is not YAML: control characters are not allowed (value: 1)"},
	{"an unknown anchor", withoutKey("authorization: *s3cret"), "line 4: it is not YAML that can be understood: an anchor or a tag is wrong"},
	{"an anchor in itself", "targets: &s3cret\n- *s3cret\n", "line 1: targets: must not be a list"},
	{"an unknown field", "target: [s3cret]\n", "line 1: the file: there is no field target: it is targets"},
	{"a field with capitals", "Targets: [s3cret]\n", "line 1: the file: there is no such field"},
	{"a value instead of a field", "s3cret:\n", "line 1: the file: there is no such field"},
	{"targets twice", "targets: [s3cret]\ntargets: [s3cret]\n", "line 2: the file: the field targets is there twice"},
	{"a mapping as a field", "? {name: s3cret}\n: s3cret\n", "line 1: the name of a field must be plain text"},

	// The list of targets.
	{"no value for targets", "targets:\n", "it has no targets: list them under targets"},
	{"no targets", "targets: []\n", "it has no targets: list them under targets"},
	{"text for targets", "targets: s3cret\n", "line 1: targets: must be a list"},
	{"fields for targets", "targets:\n  name: s3cret\n", "line 2: targets: must be a list"},
	{"text for a target", "targets: [s3cret]\n", "line 1: targets[0]: must have fields, and not one value"},
	{"a list for a target", "targets: [[s3cret]]\n", "line 1: targets[0]: must not be a list"},
	{"an empty target", valid() + "-\n", "line 5: targets[1]: it is empty"},
	{"a null for a target", "targets: [~]\n", "line 1: targets[0]: it is empty"},
	{"two targets of one name", "targets:\n" + strings.Repeat("- {name: s3cret, url: http://a, bearer_token: x}\n", 2), "line 3: targets[1].name: the target of line 2 has this name already"},
	{"one target twice by an alias", "targets:\n- &s3cret {name: s3cret, url: http://a, bearer_token: x}\n- *s3cret\n", "line 2: targets[1].name: the target of line 2 has this name already"},

	// name, url, api_prefix, kinds and api_key_token.
	{"no name", "targets: [{url: http://s3cret, bearer_token: x}]\n", "line 1: targets[0]: it needs a name"},
	{"no value for the name", "targets: [{name: , url: http://s3cret, bearer_token: x}]\n", "line 1: targets[0]: it needs a name"},
	{"an empty name", "targets: [{name: '', url: http://s3cret, bearer_token: x}]\n", "line 1: targets[0]: it needs a name"},
	{"a list for a name", "targets: [{name: [s3cret]}]\n", "line 1: targets[0].name: must not be a list"},
	{"fields for a name", "targets: [{name: {s3cret: s3cret}}]\n", "line 1: targets[0].name: must not have fields"},
	{"a name of two lines", "targets: [{name: \"s3cret\\nx\", url: http://a}]\n", "line 1: targets[0].name: must be at most 100 bytes of UTF-8, without control characters and without blanks around it"},
	{"a long name", "targets: [{name: " + strings.Repeat("s3cret", 17) + ", url: http://a}]\n", "line 1: targets[0].name: must be at most 100 bytes of UTF-8, without control characters and without blanks around it"},
	{"a name that is not UTF-8", "targets: [{name: !!binary /w==, url: http://a}]\n", "line 1: targets[0].name: must be at most 100 bytes of UTF-8, without control characters and without blanks around it"},
	{"a name that is said to be a number", "targets: [{name: !!int s3cret}]\n", "line 1: targets[0]: is not valid"},
	{"a name that is said to be base64", "targets: [{name: !!binary s3cret*}]\n", "line 1: targets[0].name: is not valid"},
	{"no URL", "targets: [{name: s3cret, bearer_token: s3cret}]\n", "line 1: targets[0]: it needs a url"},
	{"a relative URL", withURL("/s3cret"), "line 3: targets[0].url: must be absolute, with https:// or http://; " + looksLike},
	{"a URL without a scheme", withURL("s3cret.example"), "line 3: targets[0].url: must be absolute, with https:// or http://; " + looksLike},
	{"a URL of FTP", withURL("ftp://s3cret.example"), "line 3: targets[0].url: must be absolute, with https:// or http://; " + looksLike},
	{"an empty URL", withURL("''"), "line 3: targets[0].url: must be absolute, with https:// or http://; " + looksLike},
	{"a URL with a password", withURL("https://user:s3cret@a.example"), "line 3: targets[0].url: must not contain a user or a password; leave them out, as in https://example.truefoundry.cloud"},
	{"a URL with a query", withURL("https://a.example?key=s3cret"), "line 3: targets[0].url: must not have a query or a fragment; leave them out, as in https://example.truefoundry.cloud"},
	{"a URL with a fragment", withURL("https://a.example#s3cret"), "line 3: targets[0].url: must not have a query or a fragment; leave them out, as in https://example.truefoundry.cloud"},
	{"an invalid URL", withURL("'https://s3cret:%zz@a'"), "line 3: targets[0].url: is not a URL; " + looksLike},
	{"a URL with the prefix", withURL("https://s3cret.example/api/svc/"), "line 3: targets[0].url: leave out /api/svc, which the API prefix adds"},
	{"a URL with the prefix and more", withURL("https://s3cret.example/api/svc/v1/personal-access-tokens"), "line 3: targets[0].url: leave out /api/svc, which the API prefix adds"},
	{"a URL with another prefix", "targets: [{name: a, url: https://s3cret/x, api_prefix: /x, bearer_token: x}]\n", "line 1: targets[0].url: leave out /x, which the API prefix adds"},
	{"a list for a URL", withURL("[s3cret]"), "line 3: targets[0].url: must not be a list"},
	{"fields for a URL", withURL("{s3cret: s3cret}"), "line 3: targets[0].url: must not have fields"},
	{"no value for the API prefix", valid("api_prefix:"), `line 5: targets[0].api_prefix: has no value: write "" where there is no prefix, or leave it out for /api/svc`},
	{"a relative API prefix", valid("api_prefix: s3cret"), "line 5: targets[0].api_prefix: must be empty or a plain path like /api/svc"},
	{"an API prefix that leads up", valid("api_prefix: /../s3cret"), "line 5: targets[0].api_prefix: must be empty or a plain path like /api/svc"},
	{"a list for an API prefix", valid("api_prefix: [s3cret]"), "line 5: targets[0].api_prefix: must not be a list"},
	{"an unknown kind", valid("kinds: [s3cret]"), "line 5: targets[0].kinds: each must be personal-access-token or virtual-account, without repetitions"},
	{"a kind twice", valid("kinds: [virtual-account, virtual-account]"), "line 5: targets[0].kinds: each must be personal-access-token or virtual-account, without repetitions"},
	{"no kinds", valid("kinds: []"), "line 5: targets[0].kinds: must have personal-access-token or virtual-account"},
	{"no value for kinds", valid("kinds:"), "line 5: targets[0].kinds: must have personal-access-token or virtual-account"},
	{"a null for a kind", valid("kinds: [~]"), "line 5: targets[0].kinds: must have personal-access-token or virtual-account"},
	{"text for kinds", valid("kinds: s3cret"), "line 5: targets[0].kinds: must be a list"},
	{"fields for kinds", valid("kinds: {s3cret: s3cret}"), "line 5: targets[0].kinds: must be a list"},
	{"a list for a kind", valid("kinds: [[s3cret]]"), "line 5: targets[0].kinds[0]: must not be a list"},
	{"a list for the key's token", valid("api_key_token: [s3cret]"), "line 5: targets[0].api_key_token: must not be a list"},

	// Fields that are not there, or twice.
	{"an unknown field of a target", valid("credentials: s3cret"), "line 5: targets[0]: there is no field credentials here: it belongs below authorization"},
	{"a value instead of a field of a target", valid("s3cret: x"), "line 5: targets[0]: there is no such field"},
	{"an unknown field of authorization", withoutKey("authorization: {credential: s3cret}"), "line 4: targets[0].authorization: there is no field credential"},
	{"an unknown field of basic_auth", withoutKey("basic_auth: {user: s3cret}"), "line 4: targets[0].basic_auth: there is no field user"},
	{"an unknown field of oauth2", withoutKey("oauth2: {secret: s3cret}"), "line 4: targets[0].oauth2: there is no field secret"},
	{"an unknown field of oauth2's tls_config", withoutKey("oauth2: {tls_config: {s3cret: s3cret}}"), "line 4: targets[0].oauth2.tls_config: there is no such field"},
	{"an unknown field of tls_config", valid("tls_config: {cafile: s3cret}"), "line 5: targets[0].tls_config: there is no field cafile"},
	{"an unknown field of a header", valid("http_headers: {X-A: {value: s3cret}}"), "line 5: targets[0].http_headers.X-A: there is no field value"},
	{"several unknown fields", valid("foo: s3cret", "bar: s3cret"), "line 5: targets[0]: there is no field foo; line 6: targets[0]: there is no field bar"},
	{"a field of a target twice", valid("url: https://s3cret"), "line 5: targets[0]: the field url is there twice"},
	{"a field of a target twice, once as base64", valid("!!binary dXJs: https://s3cret"), "line 5: the name of a field must be plain text"},
	{"a field of authorization twice", withoutKey("authorization: {credentials: s3cret, credentials: s3cret}"), "line 4: targets[0].authorization: the field credentials is there twice"},
	{"a header twice", valid("http_headers: {X: {values: [s3cret]}, X: {values: [s3cret]}}"), "line 5: targets[0].http_headers: a field is there twice"},

	// Credentials.
	{"no credentials", withoutKey("api_key_token: s3cret"), "line 2: targets[0]: it has no credentials: add authorization with credentials_file, the file of the API key"},
	{"no value for authorization", withoutKey("authorization:"), "line 2: targets[0]: it has no credentials: add authorization with credentials_file, the file of the API key"},
	{"authorization without credentials", withoutKey("authorization: {type: Bearer}"), "line 4: targets[0].authorization: it needs credentials_file, or credentials"},
	{"a key both inline and as a file", withoutKey("authorization: {credentials: s3cret, credentials_file: s3cret}"), "line 4: targets[0].authorization: it has credentials and credentials_file: leave out one of them"},
	{"an inline key with a blank in it", withoutKey("authorization: {credentials: s3cret x}"), "line 4: targets[0].authorization: the credentials are not an API key: it has a blank, a control character or a character beyond ASCII in it"},
	{"an inline key of blanks", withoutKey("authorization: {credentials: ' '}"), "line 4: targets[0].authorization: the credentials are not an API key: it is empty"},
	{"another scheme", withoutKey("authorization: {type: s3cret, credentials: s3cret}"), "line 4: targets[0].authorization.type: must be Bearer, which is what the API expects: leave it out"},
	{"the scheme Basic", withoutKey("authorization: {type: Basic, credentials: s3cret}"), "line 4: targets[0].authorization.type: must be Bearer, which is what the API expects: leave it out"},
	{"text for authorization", withoutKey("authorization: s3cret"), "line 4: targets[0].authorization: must have fields, and not one value"},
	{"a list for authorization", withoutKey("authorization: [s3cret]"), "line 4: targets[0].authorization: must not be a list"},
	{"a list for a key", withoutKey("authorization: {credentials: [s3cret]}"), "line 4: targets[0].authorization.credentials: must not be a list"},
	{"fields for a key's file", withoutKey("authorization: {credentials_file: {s3cret: s3cret}}"), "line 4: targets[0].authorization.credentials_file: must not have fields"},
	{"a reference to a key", withoutKey("authorization: {credentials_ref: s3cret}"), "line 4: targets[0].authorization.credentials_ref: there is no secret manager to refer to: give a file, with …_file"},
	{"a reference to a client's secret", withoutKey("oauth2: {client_id: s3cret, client_secret_ref: s3cret, token_url: http://a}"), "line 4: targets[0].oauth2.client_secret_ref: there is no secret manager to refer to: give a file, with …_file"},
	{"a reference to a CA", valid("tls_config: {ca_ref: s3cret}"), "line 5: targets[0].tls_config.ca_ref: there is no secret manager to refer to: give a file, with …_file"},
	{"a reference to the CA of oauth2", withoutKey("oauth2: {client_id: s3cret, client_secret: s3cret, token_url: http://a, tls_config: {ca_ref: s3cret}}"), "line 4: targets[0].oauth2.tls_config.ca_ref: there is no secret manager to refer to: give a file, with …_file"},
	{"a reference without a value", valid("tls_config: {key_ref: }"), "line 5: targets[0].tls_config.key_ref: there is no secret manager to refer to: give a file, with …_file"},
	{"authorization and basic_auth", valid("basic_auth: {username: s3cret, password: s3cret}"), "line 5: targets[0].basic_auth: the API expects its key in the header that this would occupy: use authorization, with credentials_file"},
	{"basic_auth", withoutKey("basic_auth: {username: s3cret, password_file: s3cret}"), "line 4: targets[0].basic_auth: the API expects its key in the header that this would occupy: use authorization, with credentials_file"},
	{"an empty basic_auth", withoutKey("basic_auth: {}"), "line 4: targets[0].basic_auth: the API expects its key in the header that this would occupy: use authorization, with credentials_file"},
	{"authorization and a bearer_token", valid("bearer_token: s3cret"), "line 2: targets[0]: authorization is not compatible with bearer_token & bearer_token_file"},
	{"a bearer_token and its file", withoutKey("bearer_token: s3cret", "bearer_token_file: s3cret"), "line 2: targets[0]: at most one of bearer_token & bearer_token_file must be configured"},
	{"a bearer_token with a blank in it", withoutKey("bearer_token: s3cret x"), "line 2: targets[0]: the credentials are not an API key: it has a blank, a control character or a character beyond ASCII in it"},
	{"text for basic_auth", withoutKey("basic_auth: s3cret"), "line 4: targets[0].basic_auth: must have fields, and not one value"},
	{"a list for a password", withoutKey("basic_auth: {password: [s3cret]}"), "line 4: targets[0].basic_auth.password: must not be a list"},

	// OAuth2.
	{"oauth2 without a client", withoutKey("oauth2: {client_secret: s3cret, token_url: http://a}"), "line 2: targets[0]: oauth2 client_id must be configured"},
	{"oauth2 without a secret", withoutKey("oauth2: {client_id: s3cret, token_url: http://a}"), "line 4: targets[0].oauth2: it needs client_secret_file, or client_secret"},
	{"oauth2 without a URL", withoutKey("oauth2: {client_id: s3cret, client_secret: s3cret}"), "line 2: targets[0]: oauth2 token_url must be configured"},
	{"oauth2 with two secrets", withoutKey("oauth2: {client_id: s3cret, client_secret: s3cret, client_secret_file: s3cret, token_url: http://a}"), "line 2: targets[0]: at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured using grant-type=client_credentials"},
	{"oauth2 at a relative URL", withoutKey("oauth2: {client_id: s3cret, client_secret: s3cret, token_url: /s3cret}"), "line 4: targets[0].oauth2.token_url: must be absolute, with https:// or http://, and without a user or a password"},
	{"oauth2 at a URL with a password", withoutKey("oauth2: {client_id: s3cret, client_secret: s3cret, token_url: 'https://u:s3cret@a'}"), "line 4: targets[0].oauth2.token_url: must be absolute, with https:// or http://, and without a user or a password"},
	{"oauth2 at an invalid URL", withoutKey("oauth2: {client_id: s3cret, client_secret: s3cret, token_url: 'https://s3cret:%zz@a'}"), "line 4: targets[0].oauth2.token_url: must be absolute, with https:// or http://, and without a user or a password"},
	{"oauth2 with another grant", withoutKey("oauth2: {client_id: s3cret, client_secret: s3cret, token_url: http://a, grant_type: s3cret}"), "line 4: targets[0].oauth2.grant_type: must be client_credentials: leave it out"},
	{"text for oauth2", withoutKey("oauth2: s3cret"), "line 4: targets[0].oauth2: must have fields, and not one value"},
	{"text for scopes", withoutKey("oauth2: {scopes: s3cret}"), "line 4: targets[0].oauth2.scopes: must be a list"},
	{"text for parameters", withoutKey("oauth2: {endpoint_params: s3cret}"), "line 4: targets[0].oauth2.endpoint_params: must have fields, and not one value"},
	{"a list for a parameter", withoutKey("oauth2: {endpoint_params: {audience: [s3cret]}}"), "line 4: targets[0].oauth2.endpoint_params.audience: must not be a list"},
	{"an invalid proxy of oauth2", withoutKey("oauth2: {client_id: s3cret, client_secret: s3cret, token_url: http://a, proxy_url: 'ftp://s3cret'}"), "line 4: targets[0].oauth2.proxy_url: must be absolute, with http://, https:// or socks5://"},
	{"an invalid CA of oauth2", withoutKey("oauth2: {client_id: s3cret, client_secret: s3cret, token_url: http://a, tls_config: {ca: s3cret}}"), "line 4: targets[0].oauth2.tls_config: unable to use specified CA cert inline"},
	{"an excess of proxies in oauth2", withoutKey("oauth2: {no_proxy: s3cret}"), "line 4: targets[0].oauth2: if no_proxy is configured, proxy_url must also be configured"},
	{"a list as a field of claims", withoutKey("oauth2: {claims: {k: {? [s3cret] : v}}}"), "line 4: the name of a field must be plain text"},
	{"fields as a field of claims", withoutKey("oauth2:", "  claims:", "    k:", "      {k: s3cret}: v"), "line 7: the name of a field must be plain text"},

	// TLS.
	{"an unknown version of TLS", valid("tls_config: {min_version: s3cret}"), "line 5: targets[0].tls_config.min_version: is not valid"},
	{"an unknown version of TLS by an alias", valid("tls_config:", "  min_version: &v s3cret", "  max_version: *v"), "line 6: targets[0].tls_config.min_version: is not valid"},
	{"an unknown version of TLS that looks like an error", valid("tls_config: {min_version: s3cret not found in type x}"), "line 5: it cannot be understood"},
	{"a list for a version of TLS", valid("tls_config: {max_version: [s3cret]}"), "line 5: targets[0].tls_config.max_version: must not be a list"},
	{"versions of TLS in the wrong order", valid("tls_config: {min_version: TLS13, max_version: TLS12, server_name: s3cret}"), "line 5: targets[0].tls_config: tls_config.max_version must be greater than or equal to tls_config.min_version if both are specified"},
	{"versions of TLS in the wrong order beside files", valid("tls_config: {min_version: TLS13, max_version: TLS12, ca_file: s3cret, cert_file: s3cret, key_file: s3cret}"), "line 5: targets[0].tls_config: tls_config.max_version must be greater than or equal to tls_config.min_version if both are specified"},
	{"an inline CA that is not PEM", valid("tls_config: {ca: s3cret}"), "line 5: targets[0].tls_config: unable to use specified CA cert inline"},
	{"an inline CA that is not PEM beside files", valid("tls_config: {ca: s3cret, cert_file: s3cret, key_file: s3cret}"), "line 5: targets[0].tls_config: unable to use specified CA cert inline"},
	{"a CA both inline and as a file", valid("tls_config: {ca: s3cret, ca_file: s3cret}"), "line 5: targets[0].tls_config: at most one of ca, ca_file & ca_ref must be configured"},
	{"an inline certificate that is not PEM", valid("tls_config: {cert: s3cret, key: s3cret}"), "line 5: targets[0].tls_config: unable to use specified client cert (inline) & key (inline): tls: failed to find any PEM data in certificate input"},
	{"an inline certificate that is another PEM", valid("tls_config:", "  key: s3cret", `  cert: "-----BEGIN s3cret-----\nAAAA\n-----END s3cret-----\n"`), `line 6: targets[0].tls_config: unable to use specified client cert (inline) & key (inline): tls: failed to find "CERTIFICATE" PEM block in certificate input`},
	{"a certificate without a key", valid("tls_config: {cert_file: s3cret}"), "line 5: targets[0].tls_config: exactly one of key or key_file must be configured when a client certificate is configured"},
	{"a key without a certificate", valid("tls_config: {key: s3cret}"), "line 5: targets[0].tls_config: exactly one of cert or cert_file must be configured when a client key is configured"},
	{"text for a switch", valid("tls_config: {insecure_skip_verify: s3cret}"), "line 5: targets[0].tls_config.insecure_skip_verify: must be true or false"},
	{"text for tls_config", valid("tls_config: s3cret"), "line 5: targets[0].tls_config: must have fields, and not one value"},
	{"a list for a CA's file", valid("tls_config: {ca_file: [s3cret]}"), "line 5: targets[0].tls_config.ca_file: must not be a list"},

	// Proxies, redirects and headers.
	{"a proxy without a scheme", valid("proxy_url: s3cret"), "line 5: targets[0].proxy_url: must be absolute, with http://, https:// or socks5://"},
	{"a proxy that looks like one of scheme s3cret", valid("proxy_url: s3cret:8080"), "line 5: targets[0].proxy_url: must be absolute, with http://, https:// or socks5://"},
	{"a proxy of FTP", valid("proxy_url: ftp://s3cret"), "line 5: targets[0].proxy_url: must be absolute, with http://, https:// or socks5://"},
	{"an empty proxy", valid("proxy_url: ''"), "line 5: targets[0].proxy_url: must be absolute, with http://, https:// or socks5://"},
	{"a proxy that is not a URL", valid("proxy_url: 'http://u:s3cret%zz@a'"), "line 5: targets[0].proxy_url: is not valid"},
	{"a list for a proxy", valid("proxy_url: [s3cret]"), "line 5: targets[0].proxy_url: must not be a list"},
	{"a proxy, and that of the environment", valid("proxy_url: http://s3cret", "proxy_from_environment: true"), "line 2: targets[0]: if proxy_from_environment is configured, proxy_url must not be configured"},
	{"no_proxy without a proxy", valid("no_proxy: s3cret"), "line 2: targets[0]: if no_proxy is configured, proxy_url must also be configured"},
	{"headers without a proxy", valid("proxy_connect_header: {X: [s3cret]}", "proxy_from_environment: false"), "line 2: targets[0]: if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured"},
	{"text for a proxy's header", valid("proxy_connect_header: {X: s3cret}"), "line 5: targets[0].proxy_connect_header.X: must be a list"},
	{"text for proxy_from_environment", valid("proxy_from_environment: s3cret"), "line 5: targets[0].proxy_from_environment: must be true or false"},
	{"redirects", valid("follow_redirects: true"), "line 5: targets[0].follow_redirects: redirects are never followed, so that the API key goes nowhere else: leave this out"},
	{"text for redirects", valid("follow_redirects: s3cret"), "line 5: targets[0].follow_redirects: must be true or false"},
	{"text for redirects that looks like an error", valid("follow_redirects: no documents"), "line 5: targets[0].follow_redirects: must be true or false"},
	{"a number for HTTP/2", valid("enable_http2: 2"), "line 5: targets[0].enable_http2: must be true or false"},
	{"a header of the API's", valid("http_headers: {authorization: {values: [s3cret]}}"), `line 2: targets[0]: setting header "Authorization" is not allowed`},
	{"text for headers", valid("http_headers: s3cret"), "line 5: targets[0].http_headers: must have fields, and not one value"},
	{"text for a header", valid("http_headers: {X-A: s3cret}"), "line 5: targets[0].http_headers.X-A: must have fields, and not one value"},
	{"text for a header's values", valid("http_headers: {X-A: {values: s3cret}}"), "line 5: targets[0].http_headers.X-A.values: must be a list"},
	{"text for a header of two lines", valid(`http_headers: {"X\ns3cret": 5}`), "line 5: targets[0].http_headers.…: must have fields, and not one value"},

	// What people expect, and what they mistake.
	{"the flag's name for kinds", valid("kind: s3cret"), "line 5: targets[0]: there is no field kind: it is kinds, a list"},
	{"a key file at the wrong level", valid("credentials_file: s3cret"), "line 5: targets[0]: there is no field credentials_file here: it belongs below authorization"},
	{"the key in the place of its file", "targets: [{name: a, url: http://a, authorization: {credentials_file: tfy_s3cret}}]\n", "line 1: targets[0].authorization.credentials_file: this looks like the key itself: write the key to a file and give the path of the file; then replace the key, which may have been seen"},
	{"the key with quotes", "targets: [{name: a, url: http://a, bearer_token: \"'s3cret'\"}]\n", "line 1: targets[0]: the credentials are not an API key: it has quotes around it"},
	{"the key as a variable", "targets: [{name: a, url: http://a, bearer_token: KEY=s3cret}]\n", "line 1: targets[0]: the credentials are not an API key: it begins with the name of a variable"},
	{"a variable for the key", "targets: [{name: a, url: http://a, bearer_token: $s3cret}]\n", "line 1: targets[0]: the credentials are not an API key: it is a placeholder, and variables are not expanded"},
	{"the key as JSON", "targets: [{name: a, url: http://a, bearer_token: '{\"s3cret\":1}'}]\n", "line 1: targets[0]: the credentials are not an API key: it is JSON"},
	{"the key with its scheme", "targets: [{name: a, url: http://a, bearer_token: Bearer s3cret}]\n", "line 1: targets[0]: the credentials are not an API key: it begins with Bearer, which is added"},
	{"a URL with an invalid port", withURL("https://s3cret:99999"), "line 3: targets[0].url: must be absolute, with https:// or http://; " + looksLike},
	{"a name with a bidirectional override", "targets: [{name: \"\\u202es3cret\", url: http://a}]\n", "line 1: targets[0].name: must be at most 100 bytes of UTF-8, without control characters and without blanks around it"},
	{"a name with blanks around it", "targets: [{name: ' s3cret', url: http://a}]\n", "line 1: targets[0].name: must be at most 100 bytes of UTF-8, without control characters and without blanks around it"},
	{"a header that cannot be sent", valid("http_headers: {X Y: {values: [s3cret]}}"), "line 5: targets[0].http_headers: a header has a name or a value that cannot be sent"},
	{"a header's value that cannot be sent", valid("http_headers: {X-Y: {secrets: [\"s3cret\\n\"]}}"), "line 5: targets[0].http_headers: a header has a name or a value that cannot be sent"},
	{"fields of another OAuth2 grant", "targets: [{name: a, url: http://a, oauth2: {client_id: a, client_secret: s3cret, token_url: http://a, iss: s3cret}}]\n", "line 1: targets[0].oauth2: iss, audience, claims and client_certificate_key… are of no use with client_credentials: leave them out"},
	{"many problems", "targets:\n" + strings.Repeat("- s3cret\n", 10), "line 2: targets[0]: must have fields, and not one value; line 3: targets[1]: must have fields, and not one value; line 4: targets[2]: must have fields, and not one value; line 5: targets[3]: must have fields, and not one value; line 6: targets[4]: must have fields, and not one value; and more"},
	// Aliases and merges.
	{"a merge of text", valid("<<: s3cret"), "line 5: targets[0].<<: is not valid"},
	{"a merge of what is wrong", "targets:\n- &a\n  name: a\n  url: s3cret\n  bearer_token: s3cret\n- <<: *a\n  name: b\n", "line 4: targets[0].url: must be absolute, with https:// or http://; " + looksLike},
	{"a merge with an unknown field", valid("<<: {s3cret: s3cret}"), "line 5: targets[0].<<: there is no such field"},
	{"a merge of a target that keeps its name", valid() + "- <<: {name: a, url: http://s3cret, bearer_token: s3cret}\n", "line 5: targets[1].name: the target of line 2 has this name already"},
	{"a null by an alias for a target", valid("api_key_token: &n") + "- *n\n", "line 6: targets[1]: it is empty"},
	{"a reference by a merge", valid("tls_config: {<<: {ca_ref: s3cret}}"), "line 5: targets[0].tls_config.<<.ca_ref: there is no secret manager to refer to: give a file, with …_file"},
}

func TestLoadRejectsInvalidFilesWithoutRepeatingValues(t *testing.T) {
	for _, tt := range invalidFiles {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "targets.yml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			list, err := Load(path)
			if err == nil {
				t.Fatalf("got %+v, want an error", list)
			}
			if want := path + ": " + tt.want; err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error contains a value: %v", err)
			}
		})
	}
}

// valueType is the type of a value in a file.
type valueType string

const (
	text   valueType = "text"
	toggle valueType = "toggle"
	list   valueType = "list"
	fields valueType = "fields"
	free   valueType = "free" // fields of any name
)

// valueTypes calls add with the path and type of each field of typ.
func valueTypes(typ reflect.Type, path string, add func(path string, typ valueType)) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ {
	case reflect.TypeFor[commoncfg.URL](), reflect.TypeFor[commoncfg.TLSVersion]():
		add(path, text)
		return
	}
	switch typ.Kind() {
	case reflect.String:
		add(path, text)
	case reflect.Bool:
		add(path, toggle)
	case reflect.Slice:
		add(path, list)
	case reflect.Map:
		add(path, free)
		if typ.Elem().Kind() != reflect.Interface {
			valueTypes(typ.Elem(), path+".X", add)
		}
	case reflect.Struct:
		if typ == reflect.TypeFor[commoncfg.Headers]() {
			valueTypes(reflect.TypeFor[map[string]commoncfg.Header](), path, add)
			return
		}
		if path != "" {
			add(path, fields)
		}
		fieldTypes(typ, path, add)
	}
}

// fieldTypes calls add with the path and type of each field of a struct.
func fieldTypes(typ reflect.Type, path string, add func(path string, typ valueType)) {
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported():
		case options == "inline":
			fieldTypes(f.Type, path, add)
		default:
			valueTypes(f.Type, strings.TrimPrefix(path+"."+name, "."), add)
		}
	}
}

func TestLoadRejectsValuesOfTheWrongTypeInEveryField(t *testing.T) {
	wrong := map[valueType]map[string]string{
		text:   {"[s3cret]": "must not be a list", "{s3cret: s3cret}": "must not have fields"},
		toggle: {"s3cret": "must be true or false", "[s3cret]": "must be true or false", "{s3cret: s3cret}": "must be true or false"},
		list:   {"s3cret": "must be a list", "{s3cret: s3cret}": "must be a list"},
		free:   {"s3cret": "must have fields, and not one value", "[s3cret]": "must not be a list"},
		fields: {
			"s3cret": "must have fields, and not one value", "[s3cret]": "must not be a list",
			"{s3cret: s3cret}": "there is no such field", "{unknown: s3cret}": "there is no field unknown",
		},
	}
	n := 0
	valueTypes(reflect.TypeFor[fileTarget](), "", func(path string, typ valueType) {
		for value, want := range wrong[typ] {
			n++
			names := strings.Split(path, ".")
			line := strings.Join(names, ": {") + ": " + value + strings.Repeat("}", len(names)-1)
			_, err := parse([]byte("targets:\n-\n  "+line+"\n"), "")
			if want := "line 3: targets[0]." + path + ": " + want; err == nil || err.Error() != want {
				t.Errorf("%s\ngot  %v\nwant %s", line, err, want)
			}
		}
	})
	if n < 100 {
		t.Errorf("tried only %d values", n)
	}
}

func TestLoadFailsIfTheFileCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yml"): "no such file or directory",
		dir:                            "is a directory",
	} {
		if _, err := Load(path); err == nil || err.Error() != "cannot read "+path+": "+want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// validFiles are files that are accepted, with their targets.
var validFiles = []struct{ name, text, want string }{
	{"a minimal file", valid(), "a https://a.example /api/svc [personal-access-token] file DIR/key"},
	{"a bearer_token_file", withoutKey("bearer_token_file: key"), "a https://a.example /api/svc [personal-access-token] file DIR/key"},
	{"a bearer_token", withoutKey("bearer_token: s3cret"), "a https://a.example /api/svc [personal-access-token] inline"},
	{"an absolute path", withoutKey("bearer_token_file: /etc/key"), "a https://a.example /api/svc [personal-access-token] file /etc/key"},
	{"a path that leads up", withoutKey("bearer_token_file: x/../../key"), "a https://a.example /api/svc [personal-access-token] file UP/key"},
	{"a scheme in other case", withoutKey("authorization: {type: bearer, credentials_file: key}"), "a https://a.example /api/svc [personal-access-token] file DIR/key"},
	{"an inline key between blanks", withoutKey(`authorization: {credentials: " s3cret\n"}`), "a https://a.example /api/svc [personal-access-token] inline"},
	{"oauth2 with a file", withoutKey("oauth2: {client_id: c, client_secret_file: secret, token_url: http://a}"), "a https://a.example /api/svc [personal-access-token] oauth2 (client secret file DIR/secret)"},
	{"oauth2 with parameters of any name", withoutKey("oauth2: {client_id: c, client_secret: s3cret, token_url: http://a, grant_type: client_credentials, endpoint_params: {resource_ref: x}}"), "a https://a.example /api/svc [personal-access-token] oauth2 (client secret inline)"},
	{"headers of any name", valid("http_headers: {x_ref: {values: [s3cret]}}"), "a https://a.example /api/svc [personal-access-token] file DIR/key"},
	{"an empty API prefix", valid(`api_prefix: ""`), "a https://a.example / [personal-access-token] file DIR/key"},
	{"an API prefix that is a slash", valid("api_prefix: /"), "a https://a.example / [personal-access-token] file DIR/key"},
	{"another API prefix", valid("api_prefix: /x/"), "a https://a.example /x [personal-access-token] file DIR/key"},
	{"a URL with a path", withURL("http://a.example:3000/tfy/"), "a http://a.example:3000/tfy /api/svc [personal-access-token] file DIR/key"},
	{"all kinds", valid("kinds: [virtual-account, personal-access-token]"), "a https://a.example /api/svc [virtual-account personal-access-token] file DIR/key"},
	{"no value where there need not be one", valid("api_key_token:", "tls_config:", "http_headers:", "basic_auth:", "proxy_url:", "follow_redirects:"), "a https://a.example /api/svc [personal-access-token] file DIR/key"},
	{"follow_redirects that is off", valid("follow_redirects: false"), "a https://a.example /api/svc [personal-access-token] file DIR/key"},
	{"a name that is a number", "targets: [{name: 5, url: http://a, bearer_token: 5}]\n", "5 http://a /api/svc [personal-access-token] inline"},
	{"a name beyond ASCII", "targets: [{name: Zürich 🔑, url: http://a, bearer_token: 5}]\n", "Zürich 🔑 http://a /api/svc [personal-access-token] inline"},
	{"JSON", `{"targets":[{"name":"a","url":"http:\/\/a","authorization":{"credentials_file":"key"}}]}`, "a http://a /api/svc [personal-access-token] file DIR/key"},
	{"a document start and end", "---\n" + valid() + "...\n# end\n", "a https://a.example /api/svc [personal-access-token] file DIR/key"},
	{"a byte order mark and the ends of lines of Windows", "\ufeff" + strings.ReplaceAll(valid(), "\n", "\r\n"), "a https://a.example /api/svc [personal-access-token] file DIR/key"},
	{"explicit tags", "targets: !!seq\n- !!map\n  !!str name: !!str 5\n  url: !here http://a\n  bearer_token: !!binary czNjcmV0\n", "5 http://a /api/svc [personal-access-token] inline"},
	{"several targets", "targets:\n- {name: a, url: http://a, bearer_token_file: a}\n- {name: A, url: http://a, bearer_token_file: b}\n", "a http://a /api/svc [personal-access-token] file DIR/a\nA http://a /api/svc [personal-access-token] file DIR/b"},
	{
		"anchors, aliases and merges",
		`
targets:
- &first
  name: a
  url: &url https://a.example
  authorization: &auth {credentials_file: key}
  kinds: &kinds [virtual-account]
- {name: b, url: *url, authorization: *auth, kinds: *kinds}
- <<: *first
  name: c
  authorization: {<<: *auth, credentials_file: other}
- <<: [{name: d, kinds: [personal-access-token]}, *first]
`,
		`a https://a.example /api/svc [virtual-account] file DIR/key
b https://a.example /api/svc [virtual-account] file DIR/key
c https://a.example /api/svc [virtual-account] file DIR/other
d https://a.example /api/svc [personal-access-token] file DIR/key`,
	},
}

// describe returns the source of the API key.
func describe(c *Credentials) string {
	switch {
	case c.KeyFile != "":
		return "file " + c.KeyFile
	case c.OAuth2 != nil && c.OAuth2.ClientSecretFile != "":
		return "oauth2 (client secret file " + c.OAuth2.ClientSecretFile + ")"
	case c.OAuth2 != nil:
		return "oauth2 (client secret inline)"
	}
	return c.KeySource
}

func TestLoadAcceptsValidFiles(t *testing.T) {
	for _, tt := range validFiles {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "targets.yml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			list, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, target := range list {
				got = append(got, fmt.Sprintf("%s %s %s %s %s", target.Name, target.URL, target.APIPrefix, target.Kinds, describe(&target.Credentials)))
			}
			want := strings.NewReplacer("DIR", dir, "UP", filepath.Dir(dir)).Replace(tt.want)
			if got := strings.Join(got, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestProxyOfTheEnvironmentIsTheDefault(t *testing.T) {
	const other = "oauth2: {client_id: c, client_secret: s3cret, token_url: http://a"
	for _, tt := range []struct {
		name, text    string
		target, oauth bool
	}{
		{"nothing is said", withoutKey(other + "}"), true, true},
		{"it has no value", withoutKey(other+", proxy_from_environment: }", "proxy_from_environment:"), true, true},
		{"it is enabled", withoutKey(other+", proxy_from_environment: true}", "proxy_from_environment: true"), true, true},
		{"it is off", withoutKey(other+", proxy_from_environment: false}", "proxy_from_environment: false"), false, false},
		{"it is off by a merge", withoutKey(other+", <<: {proxy_from_environment: false}}", "<<: {proxy_from_environment: false}"), false, false},
		{"it is off by a merge of several", withoutKey(other+", <<: [{scopes: [x]}, {proxy_from_environment: false}]}", "<<: [{kinds: [virtual-account]}, {proxy_from_environment: false}]"), false, false},
		{"the target has its own", withoutKey(other+"}", "proxy_url: http://p", "no_proxy: x"), false, true},
		{"oauth2 has its own", withoutKey(other + ", proxy_url: 'http://p'}"), true, false},
		{"a proxy's headers", withoutKey(other+"}", "proxy_connect_header: {X: [x]}"), true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := parse([]byte(tt.text), "")
			if err != nil {
				t.Fatal(err)
			}
			if got := list[0].HTTP.ProxyFromEnvironment; got != tt.target {
				t.Errorf("for the target it is %t", got)
			}
			if got := list[0].Credentials.OAuth2.ProxyFromEnvironment; got != tt.oauth {
				t.Errorf("for oauth2 it is %t", got)
			}
		})
	}
}

// net/http ignores a proxy of the environment that is not valid.
func TestProxyOfTheEnvironmentMustBeValid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets.yml")
	load := func(fields ...string) error {
		t.Helper()
		if err := os.WriteFile(path, []byte(valid(fields...)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		return err
	}
	names := []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"}
	for _, name := range names {
		t.Setenv(name, "")
	}
	for _, name := range names {
		for value, valid := range map[string]bool{
			"http://proxy.example:3128": true, "https://user:s3cret@proxy.example": true, "socks5://proxy.example:1080": true,
			"proxy.example:3128": true, "proxy.example": true, "10.0.0.1:3128": true, "": true,
			"http://user:s3cret@%zz": false, "http://": false, "ftp://s3cret.example": false, "http://proxy.example:s3cret": false, ":3128": false, "s3cret s3cret": false,
		} {
			t.Setenv(name, value)
			err := load()
			if (err == nil) != valid || err != nil && (strings.Contains(err.Error(), canary) || !strings.HasPrefix(err.Error(), name+" is not the URL of a proxy")) {
				t.Errorf("%s=%s: %v", name, value, err)
			}
			if err := load("proxy_from_environment: false"); err != nil {
				t.Errorf("it is not used, and %v", err)
			}
		}
		t.Setenv(name, "")
	}
}
