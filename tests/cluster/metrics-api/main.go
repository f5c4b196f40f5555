// Command metrics-api serves TrafficMetrics of the workloads of SMI Conformance, as an extension of the API server, by
// what their agents have counted. It knows namespaces, pods, and the edges of pods.
//
// Every second it asks each workload's agent, which must be built with the feature traffic, for its counts (GET
// /traffic at its pod's address) and keeps what was added
// to them for as long as a window lasts. Only the API server's front proxy is answered, by its certificate: who may ask
// what has been decided by then.
//
//	/apis/metrics.smi-spec.io/v1alpha1                               discovery
//	/apis/metrics.smi-spec.io/v1alpha1/namespaces[/NAME]
//	/apis/metrics.smi-spec.io/v1alpha1/namespaces/NAME/pods[/NAME[/edges]]
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	group    = "metrics.smi-spec.io/v1alpha1"
	root     = "/apis/" + group
	window   = 10 * time.Second
	pace     = time.Second
	patience = 5 * time.Second
	account  = "/var/run/secrets/kubernetes.io/serviceaccount/"
	runLabel = "conformance.smi-spec.io/run"
)

type pod struct {
	Metadata struct {
		Name, Namespace, UID string
		Labels               map[string]string
	}
	Status struct{ PodIP string }
}

// counts are what an agent says of one workload that answered it.
type counts struct {
	Succeeded, Failed int
	WithinMs          map[int]int
}

// call is what was added to them at once.
type call struct {
	at                  time.Time
	namespace, from, to string
	counts
}

type meter struct {
	api    *api
	agents http.Client
	mu     sync.Mutex
	pods   []pod
	calls  []call
	before map[string]map[string]counts
}

func main() {
	api, err := inCluster()
	if err != nil {
		log.Fatal(err)
	}
	front, err := api.frontProxy()
	if err != nil {
		log.Fatal(err)
	}
	m := &meter{api: api, agents: http.Client{Timeout: pace}, before: map[string]map[string]counts{}}
	go func() {
		for {
			if err := m.look(); err != nil {
				log.Print(err)
			}
			time.Sleep(pace)
		}
	}()
	server := http.Server{
		Addr:        ":8443",
		Handler:     m,
		ReadTimeout: patience,
		TLSConfig:   &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: front},
	}
	log.Fatal(server.ListenAndServeTLS("/tls/tls.crt", "/tls/tls.key"))
}

// ---- the cluster ----

type api struct {
	base   string
	client http.Client
}

func inCluster() (*api, error) {
	pem, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	return &api{"https://" + host, http.Client{Timeout: patience, Transport: transport}}, nil
}

func (a *api) get(path string, into any) error {
	// It is replaced from time to time.
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodGet, a.base+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	return fetch(&a.client, request, into)
}

// frontProxy is the authority of the API server's own certificate.
func (a *api) frontProxy() (*x509.CertPool, error) {
	var config struct{ Data map[string]string }
	if err := a.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication", &config); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(config.Data["requestheader-client-ca-file"])) {
		return nil, errors.New("the API server names no authority of its front proxy")
	}
	return pool, nil
}

func fetch(client *http.Client, request *http.Request, into any) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", request.URL, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// ---- counting ----

func (m *meter) look() error {
	var list struct{ Items []pod }
	if err := m.api.get("/api/v1/pods?labelSelector="+url.QueryEscape(runLabel), &list); err != nil {
		return err
	}
	var asked sync.WaitGroup
	for _, p := range list.Items {
		if p.Status.PodIP == "" {
			continue
		}
		asked.Add(1)
		go func() {
			defer asked.Done()
			request, err := http.NewRequest(http.MethodGet, "http://"+net.JoinHostPort(p.Status.PodIP, "8080")+"/traffic", nil)
			if err != nil {
				return
			}
			var now map[string]counts
			// One that does not answer yet, or no longer, has nothing to add.
			if fetch(&m.agents, request, &now) == nil {
				m.add(p, now)
			}
		}()
	}
	asked.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pods = list.Items
	kept := m.calls[:0]
	for _, c := range m.calls {
		if time.Since(c.at) <= window {
			kept = append(kept, c)
		}
	}
	m.calls = kept
	return nil
}

// add notes what a pod has called since it was asked last. Calls of a pod to itself cross no mesh.
func (m *meter) add(p pod, now map[string]counts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.before[p.Metadata.UID]
	m.before[p.Metadata.UID] = now
	for to, c := range now {
		old := before[to]
		added := counts{c.Succeeded - old.Succeeded, c.Failed - old.Failed, map[int]int{}}
		for bound, count := range c.WithinMs {
			added.WithinMs[bound] = count - old.WithinMs[bound]
		}
		if to != p.Metadata.Name && added.Succeeded+added.Failed > 0 {
			m.calls = append(m.calls, call{time.Now(), p.Metadata.Namespace, p.Metadata.Name, to, added})
		}
	}
}

// ---- answering ----

type object = map[string]any

func (m *meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ours := strings.CutPrefix(r.URL.Path, root)
	var found object
	if ours && r.Method == http.MethodGet {
		m.mu.Lock()
		found = m.find(strings.FieldsFunc(rest, func(c rune) bool { return c == '/' }), r.URL.Query().Get("labelSelector"))
		m.mu.Unlock()
	}
	code := http.StatusOK
	if found == nil {
		code = http.StatusNotFound
		found = object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": code}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(found); err != nil {
		log.Print(err)
	}
}

func (m *meter) find(path []string, selector string) object {
	switch {
	case len(path) == 0:
		return discovery()
	case path[0] != "namespaces":
		return nil
	case len(path) == 1:
		var items []object
		for _, name := range m.namespaces() {
			items = append(items, m.namespace(name))
		}
		return list(object{"kind": "Namespace"}, selector, items)
	case len(path) == 2:
		return m.namespace(path[1])
	case path[2] != "pods":
		return nil
	case len(path) == 3:
		var items []object
		for _, p := range m.pods {
			if p.Metadata.Namespace == path[1] && selects(selector, p.Metadata.Labels) {
				items = append(items, m.received(reference(p.Metadata.Namespace, p.Metadata.Name)))
			}
		}
		return list(object{"kind": "Pod", "namespace": path[1]}, selector, items)
	case !m.knows(path[1], path[3]):
		return nil
	case len(path) == 4:
		return m.received(reference(path[1], path[3]))
	case len(path) == 5 && path[4] == "edges":
		return m.edges(path[1], path[3])
	}
	return nil
}

func discovery() object {
	var resources []object
	for _, name := range []string{"namespaces", "pods", "pods/edges"} {
		resources = append(resources, object{
			"name": name, "singularName": "", "namespaced": name != "namespaces",
			"kind": "TrafficMetrics", "verbs": []string{"get", "list"},
		})
	}
	return object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources}
}

func (m *meter) knows(namespace, name string) bool {
	for _, p := range m.pods {
		if p.Metadata.Namespace == namespace && p.Metadata.Name == name {
			return true
		}
	}
	return false
}

func (m *meter) namespaces() []string {
	seen := map[string]bool{}
	var names []string
	for _, p := range m.pods {
		if name := p.Metadata.Namespace; !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func (m *meter) namespace(name string) object {
	var calls []call
	for _, c := range m.calls {
		if c.namespace == name {
			calls = append(calls, c)
		}
	}
	return metrics(object{"kind": "Namespace", "name": name}, all(), calls)
}

// received is what a pod was called by anybody.
func (m *meter) received(of object) object {
	var calls []call
	for _, c := range m.calls {
		if c.namespace == of["namespace"] && c.to == of["name"] {
			calls = append(calls, c)
		}
	}
	return metrics(of, all(), calls)
}

func (m *meter) edges(namespace, name string) object {
	from, to := map[string][]call{}, map[string][]call{}
	for _, c := range m.calls {
		if c.namespace == namespace && c.to == name {
			from[c.from] = append(from[c.from], c)
		}
		if c.namespace == namespace && c.from == name {
			to[c.to] = append(to[c.to], c)
		}
	}
	var items []object
	add := func(direction string, sides map[string][]call) {
		for other, calls := range sides {
			edge := object{"direction": direction, "side": "client", "resource": reference(namespace, other)}
			items = append(items, metrics(reference(namespace, name), edge, calls))
		}
	}
	add("from", from)
	add("to", to)
	return list(object{"kind": "Pod", "namespace": namespace}, "", items)
}

func reference(namespace, name string) object {
	return object{"kind": "Pod", "namespace": namespace, "name": name}
}

// all is the edge of whatever was received: its other side is blank.
func all() object {
	return object{"direction": "from", "side": "client", "resource": nil}
}

func list(of object, selector string, items []object) object {
	if items == nil {
		items = []object{}
	}
	answer := object{"kind": "TrafficMetricsList", "apiVersion": group, "resource": of, "items": items}
	if selector != "" {
		answer["selector"] = object{"matchLabels": labels(selector)}
	}
	return answer
}

func metrics(of, edge object, calls []call) object {
	within, succeeded, failed := map[int]int{}, 0, 0
	for _, c := range calls {
		succeeded += c.Succeeded
		failed += c.Failed
		for bound, count := range c.WithinMs {
			within[bound] += count
		}
	}
	var values []object
	for _, percent := range []int{99, 90, 50} {
		values = append(values, object{
			"name": fmt.Sprintf("p%d_response_latency", percent), "unit": "seconds",
			"value": fmt.Sprintf("%dm", percentile(within, succeeded+failed, percent)),
		})
	}
	values = append(values, object{"name": "success_count", "value": fmt.Sprint(succeeded)})
	values = append(values, object{"name": "failure_count", "value": fmt.Sprint(failed)})
	return object{
		"kind": "TrafficMetrics", "apiVersion": group, "resource": of, "edge": edge,
		"timestamp": time.Now().UTC().Format(time.RFC3339), "window": window.String(), "metrics": values,
	}
}

// percentile is the lowest bound within which so many of a hundred lie, in milliseconds.
func percentile(within map[int]int, all, percent int) int {
	var bounds []int
	for bound := range within {
		bounds = append(bounds, bound)
	}
	sort.Ints(bounds)
	seen := 0
	for _, bound := range bounds {
		seen += within[bound]
		if seen*100 >= all*percent {
			return bound
		}
	}
	return 0
}

func labels(selector string) map[string]string {
	wanted := map[string]string{}
	for _, pair := range strings.Split(selector, ",") {
		key, value, _ := strings.Cut(pair, "=")
		wanted[key] = strings.TrimPrefix(value, "=")
	}
	return wanted
}

func selects(selector string, has map[string]string) bool {
	if selector == "" {
		return true
	}
	for key, value := range labels(selector) {
		if has[key] != value {
			return false
		}
	}
	return true
}
