// Go 1.22 or later, with its standard library alone.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"time"
)

var (
	multivac  = cmp.Or(os.Getenv("MULTIVAC_URL"), "http://127.0.0.1:5003")
	randomize = cmp.Or(os.Getenv("RANDOMIZE_URL"), "http://127.0.0.1:5000")
	sreKata   = cmp.Or(os.Getenv("SRE_KATA_URL"), "http://127.0.0.1:8003")
	client    = http.Client{Timeout: 10 * time.Second}
	next      = regexp.MustCompile(`<([^>]*)>; rel="next"`)
)

// Problem is what every error is (RFC 9457).
type Problem struct {
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
}

func (problem *Problem) Error() string {
	return fmt.Sprintf("%d %s", problem.Status, cmp.Or(problem.Detail, problem.Title))
}

// send decodes a success into value. What is safe to repeat is repeated, as late as Retry-After says.
func send(method, url, key string, body, value any, tries int) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		var content []byte
		if body != nil {
			content, _ = json.Marshal(body)
		}
		request, err := http.NewRequest(method, url, bytes.NewReader(content))
		if err != nil {
			return nil, err
		}
		if body != nil {
			request.Header.Set("Content-Type", "application/json")
		}
		if key != "" {
			request.Header.Set("Idempotency-Key", key)
		}
		pause := time.Duration(float64(100*time.Millisecond) * float64(int(1)<<attempt) * (0.5 + rand.Float64()))
		response, err := client.Do(request)
		if err == nil {
			if response.StatusCode < 300 {
				err = json.NewDecoder(response.Body).Decode(value)
				response.Body.Close()
				return response, err
			}
			problem := &Problem{Status: response.StatusCode}
			_ = json.NewDecoder(response.Body).Decode(problem)
			response.Body.Close()
			err = problem
			switch response.StatusCode {
			case 429, 502, 503, 504:
				if seconds, wrong := strconv.Atoi(response.Header.Get("Retry-After")); wrong == nil {
					pause = time.Duration(seconds) * time.Second
				}
			default:
				return response, err
			}
		}
		if attempt == tries {
			return response, err
		}
		time.Sleep(pause)
	}
}

// feed returns the job of a datum; with the same key the service stores once what is sent twice.
func feed(datum, key string) (string, error) {
	var answer struct{ Response string }
	response, err := send("POST", multivac+"/multivac/data", key, map[string]string{"data": datum}, &answer, 5)
	if err != nil {
		return "", err
	}
	return response.Header.Get("Location"), nil
}

// following is the next page: it is in the header Link, relative to this one. At the end it is empty.
func following(response *http.Response) string {
	found := next.FindStringSubmatch(response.Header.Get("Link"))
	if found == nil {
		return ""
	}
	reference, err := url.Parse(found[1])
	if err != nil {
		return ""
	}
	return response.Request.URL.ResolveReference(reference).String()
}

func main() {
	key := fmt.Sprintf("go-%d-%d", os.Getpid(), time.Now().UnixNano())
	first, err := feed("from Go", key)
	if err != nil {
		log.Fatal(err)
	}
	second, err := feed("from Go", key)
	if err != nil || first != second {
		log.Fatal("the same key made two jobs: ", err)
	}
	fmt.Println("queued once:", first)

	var word struct{ ID int }
	for _, text := range []string{"one", "two", "three"} {
		if _, err := send("POST", randomize+"/api/randomizes", "", map[string]string{"word": text}, &word, 1); err != nil {
			log.Fatal(err)
		}
	}
	pages := 0
	for page := randomize + "/api/randomizes?limit=2"; page != "" && pages < 2; pages++ {
		var words []struct{ Jumbled string }
		response, err := send("GET", page, "", nil, &words, 5)
		if err != nil {
			log.Fatal(err)
		}
		page = following(response)
	}
	fmt.Println("pages:", pages)

	var count struct{ Count int }
	if _, err := send("GET", sreKata+"/query?param=a", "", nil, &count, 5); err != nil {
		fmt.Println("problem:", err)
	}
}
