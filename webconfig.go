package main

import (
	"regexp"
	"strings"
)

// ofWebConfig are the errors of the toolkit that repeat what its file says. They
// may stand behind other text.
var ofWebConfig = regexp.MustCompile(`(?s)(yaml: |HTTP header "|invalid value for |unknown (?:cipher|curve|TLS version): |invalid ClientAuth: |` +
	`crypto/bcrypt: |failed to load X509KeyPair: |failed to read (?:cert|key)_file ).*`)

// webConfigProblems says what each of them means.
var webConfigProblems = []struct{ prefix, text string }{
	{"HTTP header", "a header of http_server_config cannot be configured"},
	{"invalid value", "a header of http_server_config has a value that it cannot have"},
	{"unknown cipher", "there is no such cipher in cipher_suites"},
	{"unknown curve", "there is no such curve in curve_preferences"},
	{"unknown TLS version", "there is no such TLS version in min_version or max_version"},
	{"invalid ClientAuth", "there is no such client_auth_type"},
	{"crypto/bcrypt", "a password of basic_auth_users is not hashed with bcrypt"},
}

// explainWebConfig returns the text without the values of --web.config.file that
// the toolkit repeats: any of them may be a secret in the wrong place.
func explainWebConfig(text string) string {
	return ofWebConfig.ReplaceAllStringFunc(text, func(err string) string {
		for _, problem := range webConfigProblems {
			if strings.HasPrefix(err, problem.prefix) {
				return problem.text
			}
		}
		switch {
		case strings.HasPrefix(err, "yaml: "):
			return explainYAML(err)
		case strings.Contains(err, "\n"): // the key itself, in the place of its path
			return "cert_file or key_file cannot be read"
		}
		// What follows are the names of PEM blocks, which are a part of the value.
		err, _, _ = strings.Cut(err, " after skipping PEM blocks")
		return err
	})
}

var (
	lineOfYAML  = regexp.MustCompile(`(?m)^\s*line \d+: (field .* not found|cannot unmarshal|key .* already set|field .* already set)?`)
	syntaxError = regexp.MustCompile(`^(line \d+: )?((did not find|could not find|found|mapping values|block) [a-z ,':{}<>\[\]-]+)$`)
)

// explainYAML returns the lines that an error of the YAML library is about, and
// those of its words that do not come from the file.
func explainYAML(err string) string {
	err = strings.TrimPrefix(err, "yaml: ")
	if syntaxError.MatchString(err) {
		return "it is not YAML: " + err
	}
	var problems []string
	for _, found := range lineOfYAML.FindAllString(err, -1) {
		line, what, _ := strings.Cut(strings.TrimSpace(found), ": ")
		_, name, _ := strings.Cut(strings.TrimSuffix(what, " not found"), "field ")
		switch {
		case strings.HasSuffix(what, " not found") && fieldName.MatchString(name):
			what = "there is no field " + name
		case strings.HasSuffix(what, " not found"):
			what = "there is no such field"
		case strings.HasSuffix(what, " already set"):
			what = "a field is there twice"
		default:
			what = "a value is of another type than it should be"
		}
		problems = append(problems, line+": "+what)
	}
	if len(problems) == 0 {
		return "it is not YAML that can be understood"
	}
	return strings.Join(problems, "; ")
}

// fieldName is what the name of a field looks like, and a password should not.
var fieldName = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
