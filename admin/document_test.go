package admin

import (
	"fmt"
	"maps"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v3"
)

// openapi is as much of the document as the tests look at.
type openapi struct {
	OpenAPI string                          `yaml:"openapi"`
	Paths   map[string]map[string]yaml.Node `yaml:"paths"`
	Parts   struct {
		Parameters map[string]yaml.Node `yaml:"parameters"`
		Schemas    map[string]struct {
			Properties map[string]yaml.Node `yaml:"properties"`
			Additional *bool                `yaml:"additionalProperties"`
		} `yaml:"schemas"`
		Responses map[string]yaml.Node `yaml:"responses"`
	} `yaml:"components"`
}

type operation struct {
	Scope string `yaml:"x-scope"`
	ID    string `yaml:"operationId"`
	Body  struct {
		Content map[string]struct {
			Schema struct {
				Ref string `yaml:"$ref"`
			} `yaml:"schema"`
		} `yaml:"content"`
	} `yaml:"requestBody"`
	Responses map[string]yaml.Node `yaml:"responses"`
}

func readDocument(t *testing.T) openapi {
	t.Helper()
	var d openapi
	if err := yaml.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// operations are the document's, by method and path.
func (d *openapi) operations(t *testing.T) map[string]operation {
	t.Helper()
	all := map[string]operation{}
	for path, methods := range d.Paths {
		for method, node := range methods {
			if method == "parameters" || path == "/openapi.yaml" {
				continue
			}
			var o operation
			if err := node.Decode(&o); err != nil {
				t.Fatal(err)
			}
			all[strings.ToUpper(method)+" "+strings.TrimPrefix(path, "/")] = o
		}
	}
	return all
}

// TestTheDocumentNamesEveryRouteAndNoOther, each with its scope.
func TestTheDocumentNamesEveryRouteAndNoOther(t *testing.T) {
	d := readDocument(t)
	if d.OpenAPI != "3.1.0" {
		t.Errorf("openapi %q", d.OpenAPI)
	}
	documented := map[string]string{}
	ids := map[string]bool{}
	for name, o := range d.operations(t) {
		documented[name] = o.Scope
		if ids[o.ID] || o.ID == "" || o.Responses["200"].Kind == 0 || o.Responses["default"].Kind == 0 {
			t.Errorf("%s: operation %q twice or without answers", name, o.ID)
		}
		ids[o.ID] = true
	}
	served := map[string]string{}
	for _, rt := range newWorld(t).server.routes() {
		served[rt.method+" "+rt.path] = string(rt.scope)
	}
	if !maps.Equal(documented, served) {
		t.Errorf("the document has\n%v\nthe server\n%v", documented, served)
	}
}

// TestTheDocumentRefersToWhatItHas: no reference leads nowhere.
func TestTheDocumentRefersToWhatItHas(t *testing.T) {
	d := readDocument(t)
	refs := regexp.MustCompile(`#/components/(\w+)/(\w+)`).FindAllStringSubmatch(string(document), -1)
	if len(refs) < 20 {
		t.Fatalf("%d references", len(refs))
	}
	for _, ref := range refs {
		var ok bool
		switch ref[1] {
		case "schemas":
			_, ok = d.Parts.Schemas[ref[2]]
		case "parameters":
			_, ok = d.Parts.Parameters[ref[2]]
		case "responses":
			_, ok = d.Parts.Responses[ref[2]]
		}
		if !ok {
			t.Errorf("%s is not there", ref[0])
		}
	}
}

// TestBodiesTakeWhatTheDocumentSays: each property of a request's schema is taken,
// and what the schema does not have is refused.
func TestBodiesTakeWhatTheDocumentSays(t *testing.T) {
	d := readDocument(t)
	sample := map[string]string{
		"device": `"d"`, "all": `false`, "from": `"alice"`, "to": `"bob"`, "group": `"g1"`, "cid": `"c"`, "text": `"t"`, "data": `"AAE="`,
		"type": `"text/plain"`, "user": `"alice"`, "owner": `"alice"`, "name": `"n"`, "members": `["bob"]`, "join": `"open"`, "history": `"all"`,
		"users": `["bob"]`, "role": `"admin"`, "seconds": `86400`,
	}
	bodiesSeen := 0
	for name, o := range d.operations(t) {
		ref := o.Body.Content["application/json"].Schema.Ref
		if (ref == "") != (bodies[name] == "") {
			t.Errorf("%s: a body in the document: %v, in the tests: %v", name, ref != "", bodies[name] != "")
		}
		if ref == "" {
			continue
		}
		bodiesSeen++
		schema := d.Parts.Schemas[ref[strings.LastIndex(ref, "/")+1:]]
		if schema.Additional == nil || *schema.Additional {
			t.Errorf("%s: the schema allows what the server refuses", name)
		}
		var fields []string
		for _, property := range slices.Sorted(maps.Keys(schema.Properties)) {
			fields = append(fields, fmt.Sprintf("%q:%s", property, sample[property]))
		}
		method, path, _ := strings.Cut(name, " ")
		w := newWorld(t)
		if status, got := w.ask("all", method, example(path), "{"+strings.Join(fields, ",")+"}"); status != 200 {
			t.Errorf("%s with %v: %d %v", name, fields, status, got)
		}
		if status, _ := w.ask("all", method, example(path), "{"+strings.Join(append(fields, `"unheard_of":1`), ",")+"}"); status != 400 {
			t.Errorf("%s with what is not in the document: %d", name, status)
		}
	}
	if bodiesSeen != len(bodies) {
		t.Errorf("%d bodies in the document, %d in the tests", bodiesSeen, len(bodies))
	}
}

func TestTheDocumentIsServedWithoutAKey(t *testing.T) {
	w := newWorld(t)
	recorder := httptest.NewRecorder()
	w.server.ServeHTTP(recorder, httptest.NewRequest("GET", Prefix+"openapi.yaml", nil))
	if recorder.Code != 200 || recorder.Body.String() != string(document) {
		t.Errorf("%d, %d bytes", recorder.Code, recorder.Body.Len())
	}
}
